"""The checks of `Host` and `Origin`, the short way and Starlette's."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.core.errors import DomainError
from app.core.hosts import Cors, TrustedHosts

ORIGIN = "https://clinic.example.org"


def _refused(_: Request, error: DomainError) -> Response:
    return JSONResponse({"code": error.code, "detail": error.detail}, 400)


def _client() -> httpx.AsyncClient:
    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("fine", headers={"vary": "Accept"})

    app = Starlette(routes=[Route(path, answer) for path in ("/", "/health/live", "/health/ready", "/metrics")])
    app.add_middleware(Cors, origins=[ORIGIN], credentials=False, refuse=_refused)
    app.add_middleware(TrustedHosts, hosts=["clinic.example.org", "*.clinic.example.com"], refuse=_refused)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://clinic.example.org")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("clinic.example.org", 200),
        ("CLINIC.example.org", 200),
        ("clinic.example.org:8443", 200),
        ("north.clinic.example.com", 200),
        ("clinic.example.org.evil.example", 400),
        ("evil.example", 400),
        ("", 400),
    ],
)
async def test_only_named_hosts_are_served(host: str, status: int) -> None:
    """The listed hosts pass however they are written, everything else is refused in the one form of errors."""
    async with _client() as client:
        answer = await client.get("/", headers={"Host": host})
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == "host_refused"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_probes_come_by_address(path: str) -> None:
    """A container's health check, a proxy and Prometheus know the process by its address, which is on no list."""
    async with _client() as client:
        assert (await client.get(path, headers={"Host": "172.30.0.21:8000"})).status_code == 200


async def test_two_host_headers_never_take_the_short_way() -> None:
    """What the first check let pass must be what everything behind it reads."""
    async with _client() as client:
        answer = await client.get("/", headers=[("Host", "evil.example"), ("Host", "clinic.example.org")])
    assert answer.status_code == 400


async def test_an_answer_varies_by_origin_with_and_without_one() -> None:
    """A shared cache must not give one origin's answer to another; only a listed origin is named."""
    async with _client() as client:
        plain = await client.get("/")
        listed = await client.get("/", headers={"Origin": ORIGIN})
        other = await client.get("/", headers={"Origin": "https://evil.example"})
        preflight = await client.options("/", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"})
    for answer in (plain, listed, other):
        assert {part.strip() for part in answer.headers["vary"].split(",")} == {"Accept", "Origin"}
    assert "access-control-allow-origin" not in plain.headers
    assert listed.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in other.headers
    assert preflight.status_code == 200


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"Origin": "https://evil.example"}, "origin"),
        ({"Access-Control-Request-Method": "TRACE"}, "method"),
        ({"Access-Control-Request-Headers": "x-secret"}, "headers"),
    ],
)
async def test_a_preflight_is_refused_like_anything_else(asked: dict[str, str], why: str) -> None:
    """What a page may not ask for is refused by whoever makes the service's refusals, with what it may ask for."""
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"} | asked
    async with _client() as client:
        answer = await client.options("/", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "cors_refused")
    assert why in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/json"
    assert "Last-Event-ID" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]
