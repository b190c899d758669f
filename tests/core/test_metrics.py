"""What Prometheus is told about requests."""

from secrets import token_hex

import httpx
from prometheus_client import REGISTRY

from app.core.request_metrics import REQUEST_SECONDS, UNMATCHED
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
    assert (count("GET", template, "2xx"), count("GET", template, "4xx")) == (before[0] + 1, before[1] + 1)
    assert not any(handler.endswith(f"/{doctor_id}") for handler in handlers())


async def test_random_paths_add_no_series(client: httpx.AsyncClient) -> None:
    """Two hundred paths that nobody has mapped, half of them of made-up methods, are no new series."""
    await client.get("/nowhere")
    await client.request("BREW", "/nowhere")
    known, before = handlers(), count("GET", UNMATCHED, "4xx")
    for number in range(200):
        method = "GET" if number % 2 else f"M{token_hex(4).upper()}"
        prefix = (API, f"{API}/doctors", "", "/docs")[number % 4]
        assert (await client.request(method, f"{prefix}/{token_hex(4)}/{token_hex(4)}")).status_code in (404, 405)
    assert handlers() == known
    assert {sample.labels["method"] for metric in REQUEST_SECONDS.collect() for sample in metric.samples} <= {
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other",
    }  # fmt: skip
    assert count("GET", UNMATCHED, "4xx") == before + 100


async def test_a_method_that_a_path_does_not_have_counts_for_the_path(client: httpx.AsyncClient) -> None:
    """405 is an answer of the route that has the path."""
    before = count("DELETE", f"{API}/auth/token", "4xx")
    assert (await client.delete(f"{API}/auth/token")).status_code == 405
    assert count("DELETE", f"{API}/auth/token", "4xx") == before + 1


async def test_probes_are_not_counted(client: httpx.AsyncClient) -> None:
    """Health checks and scrapes would drown what people do."""
    for path in ("/health/live", "/metrics"):
        assert (await client.get(path)).status_code == 200
    assert not handlers() & {"/health/live", "/metrics"}
