"""The refresh token in a cookie: no script reads it, no other site uses it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import SimpleCookie

import httpx
import pytest

from app.config import Settings
from app.main import create_app
from app.services.container import Container
from tests.support import API, PASSWORD, World, assert_problem

OURS, FRIEND, STRANGER = "https://clinic.example", "https://app.example", "https://evil.example"
NAME = "__Host-frontdesk-refresh"
HEADERS = {"X-Session-Cookie": "1", "Origin": OURS}


def speaking_to(settings: Settings, container: Container, *, cookie_mode: bool) -> httpx.AsyncClient:
    """A client of a service that lists one other origin; it keeps no cookies by itself."""
    changed = settings.model_copy(
        update={
            "public_url": OURS,
            "auth": settings.auth.model_copy(update={"cookie_mode": cookie_mode}),
            "api": settings.api.model_copy(update={"cors_origins": [FRIEND]}),
        }
    )
    app = create_app(changed)
    app.state.container = replace(container, settings=changed)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


@pytest.fixture
async def browser(settings: Settings, container: Container) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to a service that has the mode turned on."""
    async with speaking_to(settings, container, cookie_mode=True) as client:
        yield client


@pytest.fixture
async def cookieless(settings: Settings, container: Container) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to a service that has it turned off."""
    async with speaking_to(settings, container, cookie_mode=False) as client:
        yield client


async def sign_in(client: httpx.AsyncClient, email: str, headers: dict[str, str]) -> httpx.Response:
    form = {"grant_type": "password", "username": email, "password": PASSWORD}
    answer = await client.post(f"{API}/auth/token", data=form, headers=headers)
    client.cookies.clear()
    return answer


async def refresh(client: httpx.AsyncClient, token: str, headers: dict[str, str]) -> httpx.Response:
    sent = headers | {"Cookie": f"{NAME}={token}"}
    answer = await client.post(f"{API}/auth/token", data={"grant_type": "refresh_token"}, headers=sent)
    client.cookies.clear()
    return answer


def cookie_of(answer: httpx.Response) -> str:
    return SimpleCookie(answer.headers["set-cookie"])[NAME].value


async def test_the_token_is_in_the_cookie_alone(browser: httpx.AsyncClient, world: World) -> None:
    """HttpOnly, Secure, SameSite=Strict, bound to this host; the answer has everything else of the pair."""
    person = await world.person(password=PASSWORD)
    answer = await sign_in(browser, person.email, HEADERS)
    assert answer.status_code == 200
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "scope"}
    cookie = SimpleCookie(answer.headers["set-cookie"])[NAME]
    assert cookie.value not in answer.text
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"].lower()) == (True, True, "strict")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", str(30 * 86_400))


async def test_a_session_goes_on_and_ends_by_the_cookie(browser: httpx.AsyncClient, world: World) -> None:
    """Each refresh rotates the cookie; signing out ends the session and takes the cookie away."""
    person = await world.person(password=PASSWORD)
    first = cookie_of(await sign_in(browser, person.email, HEADERS))
    answer = await refresh(browser, first, HEADERS)
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()
    second = cookie_of(answer)
    assert second != first
    out = await browser.post(f"{API}/auth/logout", headers=HEADERS | {"Cookie": f"{NAME}={second}"})
    assert out.status_code == 204
    assert SimpleCookie(out.headers["set-cookie"])[NAME]["max-age"] == "0"
    assert_problem(await refresh(browser, second, HEADERS), 400, "invalid_grant")


@pytest.mark.parametrize(
    "origin", [{"Origin": STRANGER}, {"Origin": "null"}, {}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": OURS + "."}]
)
async def test_another_site_can_do_nothing_with_it(
    browser: httpx.AsyncClient, world: World, origin: dict[str, str]
) -> None:
    """A strange, hidden or missing origin is refused, at sign-in, refresh and sign-out, and the session goes on."""
    person = await world.person(password=PASSWORD)
    token = cookie_of(await sign_in(browser, person.email, HEADERS))
    forged = {"X-Session-Cookie": "1"} | origin
    assert_problem(await sign_in(browser, person.email, forged), 403, "csrf_refused")
    assert_problem(await refresh(browser, token, forged), 403, "csrf_refused")
    out = await browser.post(f"{API}/auth/logout", headers=forged | {"Cookie": f"{NAME}={token}"})
    assert_problem(out, 403, "csrf_refused")
    assert (await refresh(browser, token, HEADERS)).status_code == 200


async def test_a_form_of_another_site_lacks_the_header(browser: httpx.AsyncClient, world: World) -> None:
    """Without the header the cookie is not looked at, whoever sends it: a refresh lacks its token."""
    person = await world.person(password=PASSWORD)
    token = cookie_of(await sign_in(browser, person.email, HEADERS))
    assert_problem(await refresh(browser, token, {"Origin": OURS}), 400, "invalid_request")
    out = await browser.post(f"{API}/auth/logout", headers={"Origin": OURS, "Cookie": f"{NAME}={token}"})
    assert_problem(out, 422, "validation_error")
    assert (await refresh(browser, token, HEADERS)).status_code == 200


@pytest.mark.parametrize("proof", [{"Origin": FRIEND}, {"Sec-Fetch-Site": "same-origin"}])
async def test_our_pages_and_listed_ones_may(browser: httpx.AsyncClient, world: World, proof: dict[str, str]) -> None:
    """An origin on the list, and a browser that says the page is ours, get a cookie."""
    person = await world.person(password=PASSWORD)
    assert (await sign_in(browser, person.email, {"X-Session-Cookie": "1"} | proof)).status_code == 200


async def test_credentials_are_for_listed_origins_alone(browser: httpx.AsyncClient) -> None:
    """The preflight of a listed origin may send cookies and the header; any other origin gets no leave."""
    for origin, allowed in ((FRIEND, True), (STRANGER, False)):
        answer = await browser.options(
            f"{API}/auth/token",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "X-Session-Cookie",
            },
        )
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
        assert (answer.status_code == 200) is allowed
        if allowed:
            assert answer.headers["access-control-allow-credentials"] == "true"


async def test_without_the_mode_nobody_sends_credentials(cookieless: httpx.AsyncClient) -> None:
    """Where there is no cookie, a listed origin may call, and no browser sends cookies along."""
    for method in ("OPTIONS", "GET"):
        asked = {"Origin": FRIEND, "Access-Control-Request-Method": "GET"}
        answer = await cookieless.request(method, f"{API}/doctors", headers=asked)
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert "access-control-allow-credentials" not in answer.headers


async def test_it_is_off_unless_turned_on(client: httpx.AsyncClient, world: World) -> None:
    """As the service comes, the header changes nothing: the pair is in the answer, and no cookie is set."""
    person = await world.person(password=PASSWORD)
    answer = await sign_in(client, person.email, HEADERS)
    assert answer.json()["refresh_token"]
    assert "set-cookie" not in answer.headers


def test_any_origin_and_cookies_do_not_go_together(settings: Settings) -> None:
    """A list of origins that allows all is refused at the start when cookies are on."""
    changed = settings.model_copy(
        update={
            "auth": settings.auth.model_copy(update={"cookie_mode": True}),
            "api": settings.api.model_copy(update={"cors_origins": ["*"]}),
        }
    )
    assert any("API_CORS_ORIGINS" in fault for fault in changed.faults())
