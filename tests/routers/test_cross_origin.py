"""What pages of another origin may ask and see."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from app.config import Settings
from app.main import create_app
from app.services.container import Container
from tests.support import API, assert_problem

PAGE = "https://app.clinic.example"


@pytest.fixture
async def page(settings: Settings, container: Container) -> AsyncIterator[httpx.AsyncClient]:
    """A script of a page whose origin is on the list."""
    changed = settings.model_copy(update={"api": settings.api.model_copy(update={"cors_origins": [PAGE]})})
    app = create_app(changed)
    app.state.container = replace(container, settings=changed)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers={"Origin": PAGE}) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", "authorization, last-event-id, traceparent, tracestate"),
        ("HEAD", "authorization, if-none-match"),
        ("POST", "authorization, content-type, idempotency-key, x-request-id"),
        ("PATCH", "authorization, content-type, if-match"),
    ],
)
async def test_a_page_may_send_what_the_api_reads(page: httpx.AsyncClient, method: str, headers: str) -> None:
    """Every header that a request may carry passes the preflight, so that a page can follow a job where it left it."""
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    answer = await page.options(f"{API}/jobs/1/events", headers=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] == PAGE


async def test_a_refused_preflight_is_a_problem(page: httpx.AsyncClient) -> None:
    """It has the one form of errors."""
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-secret"}
    answer = await page.options(f"{API}/doctors", headers=asked)
    assert assert_problem(answer, 400, "cors_refused")["detail"] == "Disallowed CORS headers."


async def test_a_page_sees_the_headers_that_it_needs(page: httpx.AsyncClient) -> None:
    """Why a token was refused, which methods there are, what a file is called and what is left of the limit."""
    shown = (await page.get(f"{API}/doctors")).headers["access-control-expose-headers"].split(", ")
    assert {"WWW-Authenticate", "Allow", "Content-Disposition", "RateLimit-Policy", "ETag", "Location"} <= set(shown)
