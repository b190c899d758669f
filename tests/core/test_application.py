"""Who is not to be traced never enters FastAPI's layer of telemetry."""

from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.core.application import Application


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def app(spans: InMemorySpanExporter, asked: list[str]) -> Application:
    """Traces what is under /traced."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))

    def traced(scope: Any) -> bool:
        asked.append(scope["path"])
        return str(scope["path"]).startswith("/traced")

    made = Application(traced=traced, telemetry={"tracer_provider": provider, "operation_spans": False})

    @made.get("/traced/{number}")
    @made.get("/other/{number}")
    async def number(number: int) -> int:
        return number

    return made


async def test_a_request_that_is_traced_has_a_span_and_another_has_none(
    app: Application, spans: InMemorySpanExporter, asked: list[str]
) -> None:
    """Named by its route, with its status, invalid or not; each request is asked about once."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answers = [
            (await client.get(path)).status_code for path in ("/traced/1", "/other/2", "/traced/x", "/other/x", "/none")
        ]
    assert answers == [200, 200, 422, 422, 404]
    assert asked == ["/traced/1", "/other/2", "/traced/x", "/other/x", "/none"]
    found = [(span.name, (span.attributes or {})["http.response.status_code"]) for span in spans.get_finished_spans()]
    assert found == [("GET /traced/{number}", 200), ("GET /traced/{number}", 422)]
