"""What answers say to browsers, where the matrix of all routes does not come: what no route answers, and production."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from app.config import Environment, Settings
from app.main import create_app
from app.services.container import Container
from tests.security_headers import lacking
from tests.support import API, PASSWORD, World, sign_in

NOT_ANSWERED = [
    ("GET", "/nowhere", 404),
    ("GET", f"{API}/nowhere", 404),
    ("TRACE", f"{API}/doctors", 405),
    ("PUT", "/", 405),
    ("GET", f"{API}/doctors?nonsense=1", 422),
    ("POST", f"{API}/auth/token", 400),
]


@pytest.fixture
async def production(settings: Settings, container: Container) -> AsyncIterator[httpx.AsyncClient]:
    """The service as it is in production."""
    chosen = settings.model_copy(update={"environment": Environment.PRODUCTION})
    app = create_app(chosen)
    app.state.container = replace(container, settings=chosen)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


@pytest.mark.parametrize(("method", "path", "status"), NOT_ANSWERED)
async def test_what_is_refused_is_guarded(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    """Refusals that no route of the matrix makes have every header as well."""
    answer = await client.request(method, path)
    assert (answer.status_code, lacking(answer)) == (status, [])


async def test_too_large_and_broken_are_guarded(client: httpx.AsyncClient, production: httpx.AsyncClient) -> None:
    """A body that is too large, and a fault of ours, have every header as well."""
    large = await client.post(f"{API}/auth/register", content=b"x" * 2_000_000)
    assert (large.status_code, lacking(large)) == (413, [])
    production._transport.app.state.container = None  # type: ignore[attr-defined]  # as if it were half built
    broken = await production.get(f"{API}/doctors", headers={"Host": "testserver"})
    assert (broken.status_code, lacking(broken, production=True)) == (500, [])


async def test_production_asks_for_https(production: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """In production every answer tells browsers to come by https alone, for two years; elsewhere none does."""
    for path in ("/", f"{API}/doctors", f"{API}/users/me", "/nowhere", "/health/live"):
        answer = await production.get(path, headers={"Host": "testserver"})
        assert lacking(answer, production=True) == [], path
        assert "strict-transport-security" not in (await client.get(path)).headers


async def test_tokens_are_kept_by_nobody(client: httpx.AsyncClient, world: World) -> None:
    """Whatever holds a token or a secret forbids every cache to keep it (RFC 6749, 5.1)."""
    person = await world.person(password=PASSWORD)
    pair = await sign_in(client, person.email)
    assert (pair.headers["cache-control"], pair.headers["pragma"]) == ("no-store", "no-cache")
    form = {"grant_type": "refresh_token", "refresh_token": pair.json()["refresh_token"]}
    renewed = await client.post(f"{API}/auth/token", data=form)
    assert (renewed.headers["cache-control"], renewed.headers["pragma"]) == ("no-store", "no-cache")


async def test_the_check_sees_what_is_missing() -> None:
    """An answer without headers lacks each of them; one that names its server says too much."""
    request = httpx.Request("GET", "http://testserver/")
    bare = httpx.Response(200, html="<p>", request=request, headers={"Server": "x"})
    assert {"x-frame-options", "permissions-policy", "content-security-policy", "server"} <= set(lacking(bare))
