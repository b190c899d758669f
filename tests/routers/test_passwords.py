"""What a password may be."""

import time
from base64 import b64encode
from statistics import median

import httpx
import pytest
from passlib.hash import bcrypt, bcrypt_sha256

from app.core.common_passwords import is_common
from app.core.database import Base
from app.core.hashing import PasswordHasher
from tests.support import API, PASSWORD, World, assert_problem, sign_in

EMAIL = "pat@example.com"


async def register(client: httpx.AsyncClient, password: str) -> httpx.Response:
    body = {"email": EMAIL, "password": password, "full_name": "Pat"}
    return await client.post(f"{API}/auth/register", json=body)


@pytest.mark.parametrize(
    "password",
    [
        "8 letter",
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


async def test_common_passwords_are_refused_wherever_one_is_set(client: httpx.AsyncClient, world: World) -> None:
    """At registration, change and an admin's creation, in any case: 422 of one stable type; nothing is made."""
    person, admin = await world.person(password=PASSWORD), await world.admin()
    account = {"email": EMAIL, "full_name": "Pat Example"}
    for common in ("password1", "PassWord1", "qwertyuiop", "iloveyou"):
        answers = [
            await register(client, common),
            await client.post(f"{API}/users", json=account | {"password": common}, headers=admin.headers),
            await client.post(
                f"{API}/users/me/password",
                json={"current_password": PASSWORD, "new_password": common},
                headers=person.headers,
            ),
        ]
        for answer in answers:
            assert assert_problem(answer, 422, "validation_error")["errors"][0]["type"] == "password_too_common"
    assert await world.count("users") == 2


@pytest.mark.parametrize("password", ["pat@example.com", "PAT@Example.COM", " Pat Example ", "pat.example"])
async def test_ones_own_name_is_no_password(client: httpx.AsyncClient, password: str) -> None:
    """The e-mail, what stands before its @, and the name are refused, in any case."""
    body = {"email": "pat.example@example.com", "password": password, "full_name": "Pat Example"}
    if "@" in password:
        body["email"] = EMAIL
    answer = await client.post(f"{API}/auth/register", json=body)
    assert assert_problem(answer, 422, "validation_error")["errors"][0]["type"] == "password_too_common"


def test_the_list_is_there() -> None:
    """Thousands of entries, found in any case; a phrase is not among them."""
    assert all(is_common(word) for word in ("password1", "PASSWORD1", "Football1"))
    assert not is_common(PASSWORD)


@pytest.mark.parametrize("rounds", [4, 5])
@pytest.mark.parametrize("password", [PASSWORD, "p\u00e4ssw\u00f6rd " * 12, "x" * 256])
async def test_a_hash_of_another_system_is_upgraded_by_a_sign_in(
    client: httpx.AsyncClient, world: World, password: str, rounds: int
) -> None:
    """Plain bcrypt signs in, wrong passwords do not, and then the account has our hash of all of it."""
    person = await world.person()
    legacy = bcrypt.using(rounds=rounds).hash(password.encode()[:72])
    await world.execute("UPDATE users SET password_hash = :hash", hash=legacy)
    for wrong in ("wrong password", "\0" + password[:200], ""):
        assert (await sign_in(client, person.email, wrong)).status_code == 400
    assert await world.scalar("SELECT password_hash FROM users") == legacy
    assert (await sign_in(client, person.email, password)).status_code == 200
    upgraded = await world.scalar("SELECT password_hash FROM users")
    assert bcrypt_sha256.verify(password, upgraded)
    assert (await sign_in(client, person.email, password)).status_code == 200
    assert await world.scalar("SELECT password_hash FROM users") == upgraded
    assert (await sign_in(client, person.email, password[:-1])).status_code == 400


async def test_a_cheaper_hash_is_outdated(world: World) -> None:
    """A hash of fewer rounds is to be made anew, one of more is not; what is no hash fits nothing."""
    hasher = PasswordHasher(world.container.settings.hashing.model_copy(update={"rounds": 6}))
    cheap, dear = bcrypt_sha256.using(rounds=4).hash(PASSWORD), bcrypt_sha256.using(rounds=8).hash(PASSWORD)
    assert hasher.is_outdated(cheap)
    assert not hasher.is_outdated(dear)
    assert not hasher.is_outdated("!")
    assert await hasher.verify(PASSWORD, cheap)
    assert not await hasher.verify(PASSWORD, "$2b$04$broken")
    hasher.close()


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(client: httpx.AsyncClient, world: World) -> None:
    """The medians of 200 refusals each, taken in turns so that a busy machine slows both, are within 10 %."""
    people = [await world.person(password=PASSWORD) for _ in range(20)]

    async def took(email: str) -> float:
        started = time.perf_counter()
        assert (await sign_in(client, email, "a wrong password")).status_code == 400
        return time.perf_counter() - started

    async def ratio() -> float:
        known, unknown = [], []
        await world.container.redis.flushdb()
        for number in range(200):
            known.append(await took(people[number % 20].email))
            unknown.append(await took(f"nobody{number}@example.com"))
            if number % 20 == 19:
                await world.container.redis.flushdb()
        return median(known) / median(unknown)

    for _ in range(3):
        if 0.9 < (last := await ratio()) < 1.1:
            return
    raise AssertionError(f"the medians differ: {last:.2f}")
