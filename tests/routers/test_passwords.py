"""What a password may be."""

from base64 import b64encode

import httpx
import pytest

from app.core.database import Base
from tests.support import API, PASSWORD, World, assert_problem, sign_in

EMAIL = "pat@example.com"


async def register(client: httpx.AsyncClient, password: str) -> httpx.Response:
    body = {"email": EMAIL, "password": password, "full_name": "Pat"}
    return await client.post(f"{API}/auth/register", json=body)


@pytest.mark.parametrize(
    "password",
    [
        "12345678",
        "x" * 256,
        "🩺" * 8,
        "🩺" * 256,
        "  spaces at both ends  ",
        " " * 8,
        "пароль пароль",
        "密码密码密码密码",
        "tab\tand\nnewline",
        "a&b=c+d%20e;f",
        "zero\0inside",
        "\u202eright to left",
    ],
)
async def test_any_unicode_is_a_password(client: httpx.AsyncClient, password: str) -> None:
    """8 to 256 characters of any kind sign in again, exactly as they were typed."""
    assert (await register(client, password)).status_code == 202
    assert (await sign_in(client, EMAIL, password)).status_code == 200
    for other in (password[:-1], password + " ", " " + password, password.strip() + "!"):
        assert (await sign_in(client, EMAIL, other)).status_code == 400


@pytest.mark.parametrize("length", [72, 73, 100, 255])
async def test_no_password_is_truncated(client: httpx.AsyncClient, length: int) -> None:
    """Two passwords that differ in their last character alone are two, also past bcrypt's 72 bytes."""
    same = "é" * (length - 1)
    await register(client, same + "a")
    assert (await sign_in(client, EMAIL, same + "b")).status_code == 400
    assert (await sign_in(client, EMAIL, same)).status_code == 400
    assert (await sign_in(client, EMAIL, same + "a")).status_code == 200


async def test_one_password_of_two_keyboards(client: httpx.AsyncClient) -> None:
    """A letter with its accent composed or decomposed is the same password (RFC 8265)."""
    await register(client, "Zo\u00eb Zo\u00eb 1")
    assert (await sign_in(client, EMAIL, "Zoe\u0308 Zoe\u0308 1")).status_code == 200


@pytest.mark.parametrize("password", ["1234567", "", "x" * 257, "🩺" * 7, "🩺" * 257])
async def test_length_counts_characters(client: httpx.AsyncClient, world: World, password: str) -> None:
    """Under 8 or over 256 characters, not bytes: 422, and the answer does not repeat the password."""
    response = await register(client, password)
    body = assert_problem(response, 422, "validation_error")
    assert body["errors"][0]["loc"] == ["body", "password"]
    assert not password or password not in response.text
    assert await world.scalar("SELECT count(*) FROM users") == 0


async def test_passwords_are_nowhere_in_clear(client: httpx.AsyncClient, world: World) -> None:
    """No column of any table holds the password."""
    headers = {"Idempotency-Key": "k"}
    body = {"email": EMAIL, "password": "open sesame", "full_name": "Pat"}
    await client.post(f"{API}/auth/register", json=body, headers=headers)
    await sign_in(client, EMAIL, "open sesame")
    for table in Base.metadata.sorted_tables:
        rows = await world.rows(f"SELECT CAST(t AS text) FROM {table.name} t")
        for form in ("open sesame", b"open sesame".hex(), b64encode(b"open sesame").decode().rstrip("=")):
            assert form not in str(rows), table.name
    assert await world.count("refresh_tokens") == await world.count("idempotency_keys") == 1


async def test_a_changed_password_ends_the_other_sessions(client: httpx.AsyncClient, world: World) -> None:
    """After the change the session that made it goes on, every other one is over, and only the new password works."""
    person = await world.person(password=PASSWORD)
    other = (await sign_in(client, person.email)).json()["access_token"]
    body = {"current_password": PASSWORD, "new_password": "a better one"}
    wrong = await client.post(
        f"{API}/users/me/password", json=body | {"current_password": "not this one"}, headers=person.headers
    )
    assert assert_problem(wrong, 422, "validation_error")["errors"][0]["loc"] == ["body", "current_password"]
    done = await client.post(f"{API}/users/me/password", json=body, headers=person.headers)
    assert (done.status_code, done.content) == (204, b"")
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 200
    ended = await client.get(f"{API}/users/me", headers={"Authorization": f"Bearer {other}"})
    assert_problem(ended, 401, "invalid_token")
    assert (await sign_in(client, person.email)).status_code == 400
    assert (await sign_in(client, person.email, "a better one")).status_code == 200
