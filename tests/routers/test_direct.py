"""The short way to the webhooks' handler says what the long one says."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.routers.direct import Direct
from tests.core.test_metrics import count, the_loop_to_come_round
from tests.support import API, World, assert_problem
from tests.webhooks import body, payment, payments_secret

PAYMENTS = f"{API}/webhooks/payments"


class Traced:
    """Marks requests as FastAPI marks those that it traces."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "fastapi.telemetry": "a span"}, receive, send)


@pytest.fixture(params=["short", "long"])
async def way(request: pytest.FixtureRequest, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    target = app if request.param == "short" else Traced(app)
    transport = httpx.ASGITransport(target, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


async def test_both_ways_answer_alike(way: httpx.AsyncClient, world: World) -> None:
    """Taken, known, unsigned, no object, too large, nobody's: the same statuses, problems, headers and metrics."""
    sent, secret = body(), payments_secret(world.container)
    before = count("POST", f"{API}/webhooks/{{provider}}", "2xx")
    for _ in range(2):
        taken = await way.post(PAYMENTS, content=sent, headers=payment("msg_1", secret, sent) | {"X-Request-ID": "r-1"})
        assert (taken.status_code, taken.json()) == (202, {"event_id": "msg_1"})
        assert (taken.headers["x-request-id"], taken.headers["content-type"]) == ("r-1", "application/json")
        assert {"x-content-type-options", "cache-control", "content-security-policy"} <= taken.headers.keys()
    await the_loop_to_come_round()
    assert count("POST", f"{API}/webhooks/{{provider}}", "2xx") == before + 2
    assert_problem(await way.post(PAYMENTS, content=sent), 401, "invalid_signature")
    assert_problem(
        await way.post(PAYMENTS, content=b"[]", headers=payment("m", secret, b"[]")), 422, "validation_error"
    )
    large = await way.post(PAYMENTS, content=b" " * (256 * 1024 + 1))
    assert_problem(large, 413, "body_too_large")
    assert large.headers["connection"] == "close"
    assert_problem(await way.post(f"{API}/webhooks/nobody", content=sent), 404, "not_found")
    assert await world.count("webhook_events") == 1


async def test_the_short_way_is_for_one_address(app: FastAPI, way: httpx.AsyncClient) -> None:
    """Other methods and paths, however close, are the framework's to answer."""
    assert Direct.__name__ in [getattr(one.cls, "__name__", "") for one in app.user_middleware]
    assert_problem(await way.get(PAYMENTS), 405, "method_not_allowed")
    for path in ("/webhooks", "/webhooks/", "/webhooks/payments/", "/webhooks/payments/x", "/webhooksx/payments"):
        assert (await way.post(API + path, content=b"{}")).status_code in (307, 404, 405)
    assert_problem(await way.post("/webhooks/payments", content=b"{}"), 404, "not_found")
