"""`POST /auth/token` with a password."""

from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from limits.aio.storage import RedisStorage

from app.core.enums import Role
from app.core.rate_limit import FailureLimit
from app.schemas.messages.mails import SendVerificationMail
from app.services.container import Container
from app.services.mails import MAX_MAILS
from tests.support import API, PASSWORD, World, assert_problem, eventually, sign_in

EMAIL = "pat@example.com"


async def ask(client: httpx.AsyncClient, **form: Any) -> httpx.Response:
    return await client.post(f"{API}/auth/token", data=form)


def assert_refused(response: httpx.Response, code: str = "invalid_grant", status: int = 400) -> None:
    """A problem that RFC 6749's clients can read as well, and that no cache keeps."""
    body = assert_problem(response, status, code)
    assert (body["error"], body["error_description"]) == (code, body["detail"])
    assert response.headers["cache-control"] == "no-store"


async def test_a_password_buys_a_pair(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """The answer is the pair of RFC 6749, its access token has the claims of the contract and opens the own profile."""
    person = await world.person(password=PASSWORD, email=EMAIL)
    response = await sign_in(client, EMAIL)
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    pair = response.json()
    assert pair.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 900)
    header = jwt.get_unverified_header(pair["access_token"])
    assert (header["typ"], bool(header["kid"])) == ("at+jwt", True)
    claims = jwt.decode(pair["access_token"], options={"verify_signature": False})
    assert {"iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "scope", "role"} == claims.keys()
    assert (claims["sub"], claims["role"], claims["exp"] - claims["iat"]) == (str(person.id), "client", 900)
    me = await client.get(f"{API}/users/me", headers={"Authorization": f"bearer {pair['access_token']}"})
    assert me.json()["email"] == EMAIL


async def test_wrong_and_unknown_look_the_same(client: httpx.AsyncClient, world: World) -> None:
    """A wrong password, an unknown user, an account that is off and one that is deleted get one and the same answer."""
    await world.person(password=PASSWORD, email=EMAIL)
    await world.person(password=PASSWORD, email="off@example.com", is_active=False)
    gone = await world.person(password=PASSWORD, email="gone@example.com")
    await world.execute("UPDATE users SET deleted_at = now() WHERE id = :id", id=gone.id)
    answers = [
        await sign_in(client, email, password)
        for email, password in [
            (EMAIL, "wrong password"),
            (EMAIL, "🔑" * 4096),
            ("nobody@example.com", "🔑" * 4096),
            ("nobody@example.com", PASSWORD),
            ("off@example.com", PASSWORD),
            ("gone@example.com", PASSWORD),
            ("not an address", PASSWORD),
            (EMAIL, PASSWORD + "\0"),
            (EMAIL, PASSWORD.upper()),
            (EMAIL, " " + PASSWORD),
        ]
    ]
    for answer in answers:
        assert_refused(answer)
    bodies = [{name: value for name, value in answer.json().items() if name != "request_id"} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert await world.scalar("SELECT count(*) FROM refresh_tokens") == 0


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "invalid_request"),
        ({"grant_type": "password", "username": EMAIL}, "invalid_request"),
        ({"grant_type": "password", "password": PASSWORD}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
        ({"grant_type": "PASSWORD", "username": EMAIL, "password": PASSWORD}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "nonsense"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "\0"}, "invalid_grant"),
    ],
)
async def test_a_form_that_asks_wrongly(client: httpx.AsyncClient, form: dict[str, str], code: str) -> None:
    """What is missing or unknown is named by RFC 6749's codes."""
    assert_refused(await ask(client, **form), code)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"grant_type": "password", "username": "pat@example.com", "password": "x"}', "application/json"),
        (b"grant_type=password", "text/plain"),
        (b"", "application/x-www-form-urlencoded"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"grant_type=password", "multipart/form-data"),
        (
            b'--x\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\npassword\r\n--x\r\nContent-Disposition:'
            b' form-data; name="username"\r\n\r\n+2AA-\r\n--x\r\nContent-Disposition: form-data; name="password"'
            b"\r\n\r\n+2AA-\r\n--x--\r\n",
            "multipart/form-data; boundary=x; charset=utf-7",
        ),
    ],
)
async def test_a_form_of_another_kind(client: httpx.AsyncClient, content: bytes, kind: str) -> None:
    """What is no form is a 4xx with RFC 6749's `error`, never a failure."""
    response = await client.post(f"{API}/auth/token", content=content, headers={"Content-Type": kind})
    assert response.status_code in (400, 415, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["error"] in ("invalid_request", "bad_request", "invalid_grant")


async def test_many_failures_have_to_wait(
    client: httpx.AsyncClient, world: World, container: Container, app: FastAPI
) -> None:
    """After ten failures 429 with Retry-After, for the right password too; others go on, all do after the window."""
    await world.person(password=PASSWORD, email=EMAIL)
    await world.person(password=PASSWORD, email="other@example.com")
    storage = RedisStorage(
        "async+" + container.settings.redis.url.get_secret_value(),
        implementation="redispy",
        connection_pool=container.redis.connection_pool,  # type: ignore[arg-type]
    )
    limit = FailureLimit(storage, amount=10, window=2)
    app.state.container = replace(container, auth=replace(container.auth, failures=limit))
    for number in range(10):
        assert_refused(await sign_in(client, EMAIL.upper() if number % 2 else EMAIL, "wrong password"))
    for password in ("wrong password", PASSWORD):
        refused = await sign_in(client, EMAIL, password)
        assert_refused(refused, "rate_limited", 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert (await sign_in(client, "other@example.com")).status_code == 200

    async def free() -> bool:
        return (await sign_in(client, EMAIL)).status_code == 200

    assert await eventually(free, seconds=4, every=0.2)


async def test_the_window_is_the_settings(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """As the service is set up, the eleventh failure within five minutes waits for the rest of them."""
    for _ in range(10):
        assert_refused(await sign_in(client, EMAIL, "wrong password"))
    refused = await sign_in(client, EMAIL, "wrong password")
    assert_refused(refused, "rate_limited", 429)
    assert 290 <= int(refused.headers["retry-after"]) <= container.settings.auth.failure_window


@pytest.mark.parametrize("role", [Role.CLIENT, Role.ADMIN])
async def test_an_unverified_address_is_refused_when_that_is_required(
    client: httpx.AsyncClient, world: World, container: Container, app: FastAPI, role: Role
) -> None:
    """Refused like a wrong password, but a new mail goes out; once verified, the account works."""
    app.state.container = replace(container, auth=replace(container.auth, verified_email_required=True))
    person = await world.person(role, password=PASSWORD, email=EMAIL, email_verified=False)
    wrong = await sign_in(client, EMAIL, "wrong password")
    assert await world.enqueued(SendVerificationMail) == []
    right = await sign_in(client, EMAIL)
    assert_refused(right)
    assert right.json() | {"request_id": ""} == wrong.json() | {"request_id": ""}
    await world.assert_enqueued(SendVerificationMail, user_id=person.id)
    await world.run_jobs()
    (mail,) = container.settings.mail.directory.glob("*.eml")
    assert EMAIL in mail.read_text()
    await world.execute("UPDATE users SET email_verified = true")
    assert (await sign_in(client, EMAIL)).status_code == 200


async def test_asking_for_mails_again_and_again_has_an_end(
    client: httpx.AsyncClient, world: World, container: Container, app: FastAPI
) -> None:
    """Sign-ins refused for an unverified address count as failures, so ten ask for a mail, and five are sent."""
    app.state.container = replace(container, auth=replace(container.auth, verified_email_required=True))
    await world.person(password=PASSWORD, email=EMAIL, email_verified=False)
    statuses = [(await sign_in(client, EMAIL)).status_code for _ in range(12)]
    assert statuses == [400] * 10 + [429] * 2
    assert len(await world.enqueued(SendVerificationMail)) == 10
    await world.run_jobs()
    assert len(list(container.settings.mail.directory.glob("*.eml"))) == MAX_MAILS
