"""Work that is not traced makes no spans in the libraries it calls, and names its own trace to others."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, SamplingResult
from opentelemetry.trace import SpanKind

from app.config import TelemetrySettings
from app.core import spans
from app.core.application import Application
from app.core.spans import unrecorded, work_span
from app.core.tracing import RootsOfWork, traces

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
UNSAMPLED, SAMPLED = (f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}" for flags in ("00", "01"))


class Asked(ParentBased):
    """Samples as a process does that traces nothing by itself, and keeps the names of the spans that anybody began."""

    def __init__(self) -> None:
        super().__init__(RootsOfWork(0))
        self.names: list[str] = []

    def should_sample(
        self, parent_context: Context | None, trace_id: int, name: str, *others: Any, **named: Any
    ) -> SamplingResult:
        self.names.append(name)
        return super().should_sample(parent_context, trace_id, name, *others, **named)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def provider(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """Also that of our own spans, which in a process is the global one."""
    made = TracerProvider(sampler=asked)
    monkeypatch.setattr(spans, "_tracer", made.get_tracer("test"))
    return made


@pytest.fixture
async def partner(provider: TracerProvider) -> AsyncIterator[httpx.AsyncClient]:
    """An instrumented client, whose partner answers with the traceparent that it was given."""

    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.headers.get("traceparent", ""))

    async with httpx.AsyncClient(transport=httpx.MockTransport(echo), base_url="http://partner.example") as client:
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)
        yield client


async def test_an_untraced_request_makes_no_spans_and_calls_others_by_its_own_trace(
    provider: TracerProvider, partner: httpx.AsyncClient, asked: Asked
) -> None:
    """A request that nobody samples begins no span for its calls, and hands its trace id on; a sampled one has both."""
    settings = TelemetrySettings(endpoint="http://collector:4318", sample_ratio=0)
    app = Application(
        traced=lambda scope: traces(scope, settings),
        telemetry={"tracer_provider": provider, "operation_spans": False},
    )

    @app.get("/call")
    async def call() -> str:
        return (await partner.get("/", headers={"traceparent": UNSAMPLED})).text

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        handed_on = (await client.get("/call", headers={"traceparent": UNSAMPLED})).json()
        assert (handed_on, asked.names) == (UNSAMPLED, [])
        traced: str = (await client.get("/call", headers={"traceparent": SAMPLED})).json()
    assert (traced[:36], traced[-2:]) == (SAMPLED[:36], "01")
    assert traced != SAMPLED
    assert asked.names == ["GET", "GET"], "the request's, which has its route's name when it ends, and the call's"


async def test_unsampled_work_makes_no_spans_in_libraries(partner: httpx.AsyncClient, asked: Asked) -> None:
    """A job whose trace is not sampled begins its own span, which nobody keeps, and none for what it asks of others."""
    with work_span("job", kind=SpanKind.CONSUMER, traceparent=UNSAMPLED) as own:
        assert (await partner.get("/", headers={"traceparent": str(own)})).text == own
    assert asked.names == ["job"]


async def test_sampled_work_within_an_untraced_request_is_recorded(partner: httpx.AsyncClient, asked: Asked) -> None:
    """Work that goes back to a sampled trace records its calls, wherever it happens to run."""
    with unrecorded():
        with work_span("job", kind=SpanKind.CONSUMER, traceparent=SAMPLED):
            called = (await partner.get("/")).text
        assert (await partner.get("/")).text == "", "after it nothing is recorded again"
    assert (called[:36], called[-2:]) == (SAMPLED[:36], "01")
    assert asked.names == ["job", "GET"]
