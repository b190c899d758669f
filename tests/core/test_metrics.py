"""What Prometheus is told about requests."""

import asyncio
from secrets import token_hex

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.middleware import BodyLimit, EdgeMiddleware
from app.core.request_metrics import REQUEST_SECONDS, UNMATCHED
from app.routers import problems
from tests.support import API, World

NAME = "http_request_duration_seconds"


def handlers() -> set[str]:
    """The values of the label `handler` that there are."""
    return {sample.labels["handler"] for metric in REQUEST_SECONDS.collect() for sample in metric.samples}


def count(method: str, handler: str, status: str) -> float:
    labels = {"method": method, "handler": handler, "status": status}
    return REGISTRY.get_sample_value(f"{NAME}_count", labels) or 0.0


async def test_a_request_counts_for_the_template_of_its_route(client: httpx.AsyncClient, world: World) -> None:
    """The label is the route's whole path, prefix and parameters and all, whatever ids were asked for."""
    doctor_id = await world.doctor()
    template = f"{API}/doctors/{{doctor_id}}"
    before = count("GET", template, "2xx"), count("GET", template, "4xx")
    assert (await client.get(f"{API}/doctors/{doctor_id}")).status_code == 200
    assert (await client.get(f"{API}/doctors/{doctor_id + 1}")).status_code == 404
    await the_loop_to_come_round()
    assert (count("GET", template, "2xx"), count("GET", template, "4xx")) == (before[0] + 1, before[1] + 1)
    assert not any(handler.endswith(f"/{doctor_id}") for handler in handlers())


async def the_loop_to_come_round() -> None:
    """Then requests are counted, those of a turn together."""
    await asyncio.sleep(0)


async def ask(app: ASGIApp, method: str, path: str) -> int:
    """The status of one request, without the cost of an HTTP client."""
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""}
    place = {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
    await app({**scope, **place, "client": ("127.0.0.1", 50000), "server": ("testserver", 80)}, receive, send)
    (status,) = statuses
    return status


def number_of_series() -> int:
    return sum(len(metric.samples) for metric in REGISTRY.collect())


async def nowhere(_: Scope, __: Receive, send: Send) -> None:
    """What is behind the outermost layer for a path that nobody has mapped, at a hundredth of the cost."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(("whole", "number"), [(True, 700), (False, 10_000)], ids=["700 routed", "10,000 counted"])
async def test_random_paths_add_no_series(app: FastAPI, whole: bool, number: int) -> None:
    """Paths that nobody has mapped, a part of them of made-up methods, are no new series of any metric."""
    edge = EdgeMiddleware(nowhere, on_error=problems.unexpected, body=BodyLimit(1, 1), uploads={}, hsts=False)
    prefixes = (API, f"{API}/doctors", "", "/docs", f"{API}/webhooks")

    async def several(number: int) -> None:
        for one in range(number):
            method = f"M{token_hex(4).upper()}" if one % 7 == 0 else "GET"
            path = f"{prefixes[one % 5]}/{token_hex(4)}/{token_hex(4)}"
            assert await ask(app if whole else edge, method, path) in (404, 405)
        await the_loop_to_come_round()

    await several(70)
    known, before, unmatched = handlers(), number_of_series(), count("GET", UNMATCHED, "4xx")
    await several(number)
    assert (handlers(), number_of_series()) == (known, before)
    assert {sample.labels["method"] for metric in REQUEST_SECONDS.collect() for sample in metric.samples} <= {
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other",
    }  # fmt: skip
    assert count("GET", UNMATCHED, "4xx") > unmatched + number * 0.8


async def test_a_method_that_a_path_does_not_have_counts_for_the_path(client: httpx.AsyncClient) -> None:
    """405 is an answer of the route that has the path."""
    before = count("DELETE", f"{API}/auth/token", "4xx")
    assert (await client.delete(f"{API}/auth/token")).status_code == 405
    await the_loop_to_come_round()
    assert count("DELETE", f"{API}/auth/token", "4xx") == before + 1


async def test_probes_are_not_counted(client: httpx.AsyncClient) -> None:
    """Health checks and scrapes would drown what people do."""
    for path in ("/health/live", "/metrics"):
        assert (await client.get(path)).status_code == 200
    await the_loop_to_come_round()
    assert not handlers() & {"/health/live", "/metrics"}
