"""The second factor: turning it on, signing in with it, and what does not pass."""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
import pyotp
import pytest
from fastapi import FastAPI

from app.core.errors import Conflict, NotFound
from app.schemas.messages.accounts import Notice, SendAccountNotice
from app.services.second_factor_commands import reset
from tests.support import API, PASSWORD, Person, World, assert_problem

STEP = 30


def code(secret: str, steps: int = 0) -> str:
    """The code of the authenticator so many steps from now."""
    return pyotp.TOTP(secret).at(int(time.time()) + steps * STEP)


async def enrol(client: httpx.AsyncClient, person: Person) -> str:
    answer = await client.post(f"{API}/auth/mfa/totp", headers=person.headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


async def confirm(client: httpx.AsyncClient, person: Person, otp: str) -> httpx.Response:
    return await client.post(f"{API}/auth/mfa/totp/confirm", json={"otp": otp}, headers=person.headers)


async def remove(client: httpx.AsyncClient, person: Person, body: Any = None) -> httpx.Response:
    return await client.request("DELETE", f"{API}/auth/mfa/totp", json=body, headers=person.headers)


async def ask(client: httpx.AsyncClient, person: Person, otp: str | None = None, **form: str) -> httpx.Response:
    form = {"grant_type": "password", "username": person.email, "password": PASSWORD} | form
    return await client.post(f"{API}/auth/token", data=form | ({"otp": otp} if otp else {}))


@pytest.fixture
async def person(world: World) -> Person:
    return await world.person(password=PASSWORD)


@pytest.fixture
async def protected(client: httpx.AsyncClient, person: Person, world: World) -> tuple[str, list[str]]:
    """The secret and the recovery codes of `person`; every code of now is still unused."""
    secret = await enrol(client, person)
    answer = await confirm(client, person, code(secret))
    assert answer.status_code == 200, answer.text
    await world.execute("UPDATE totp_credentials SET last_step = 0")
    return secret, answer.json()["recovery_codes"]


async def test_it_asks_once_it_is_confirmed(client: httpx.AsyncClient, person: Person, world: World) -> None:
    """Enrolled it changes nothing; confirmed, a right password alone is refused, in words of its own."""
    answer = await client.post(f"{API}/auth/mfa/totp", headers=person.headers)
    enrolment = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    parsed = pyotp.parse_uri(enrolment["uri"])
    assert (parsed.secret, parsed.name) == (enrolment["secret"], person.email)
    assert (await ask(client, person)).status_code == 200
    wrong = await confirm(client, person, "000000")
    assert assert_problem(wrong, 422, "validation_error")["errors"][0]["type"] == "otp_wrong"
    codes = (await confirm(client, person, code(enrolment["secret"]))).json()["recovery_codes"]
    assert len(set(codes)) == 10
    refused = assert_problem(await ask(client, person), 400, "mfa_required")
    assert refused["error"] == "invalid_grant"
    assert_problem(await ask(client, person, password="a wrong password"), 400, "invalid_grant")
    assert (await ask(client, person, code(enrolment["secret"], 1))).status_code == 200
    stored = await world.rows("SELECT sealed_secret, code_hash FROM totp_credentials, recovery_codes")
    assert enrolment["secret"].encode() not in stored[0].sealed_secret
    assert not {codes[0].encode(), codes[0].replace("-", "").encode()} & {bytes(row.code_hash) for row in stored}
    assert_problem(await client.post(f"{API}/auth/mfa/totp", headers=person.headers), 409, "mfa_enabled")
    assert_problem(await confirm(client, person, code(enrolment["secret"])), 409, "mfa_not_pending")


async def test_a_code_works_once(client: httpx.AsyncClient, person: Person, protected: tuple[str, list[str]]) -> None:
    """Of two sign-ins with one code at once one gets in; after it neither that code nor an older one does."""
    secret, _ = protected
    otp = code(secret)
    answers = await asyncio.gather(*(ask(client, person, otp) for _ in range(3)))
    statuses = [answer.status_code for answer in answers]
    # 503: a rival that waited longer for the row than the database lets it.
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 400, 503}
    for spent in (otp, code(secret, -1)):
        assert_problem(await ask(client, person, spent), 400, "invalid_grant")


async def test_the_code_that_confirmed_is_spent(client: httpx.AsyncClient, person: Person) -> None:
    """Whoever looked over the shoulder while it was set up can't sign in with what they saw."""
    secret = await enrol(client, person)
    otp = code(secret)
    assert (await confirm(client, person, otp)).status_code == 200
    assert_problem(await ask(client, person, otp), 400, "invalid_grant")


async def test_clocks_may_differ_by_one_step(
    client: httpx.AsyncClient, person: Person, protected: tuple[str, list[str]], world: World
) -> None:
    """The code before and the code after pass, those further away and what is no code do not."""
    secret, _ = protected
    assert (await ask(client, person, code(secret, -1))).status_code == 200
    assert (await ask(client, person, code(secret, 1))).status_code == 200
    await world.execute("UPDATE totp_credentials SET last_step = 0")
    # Two steps ahead may be one by the time that it arrives; two steps back are never less.
    for otp in (code(secret, -2), code(secret, 3), "12345", "x" * 64, "\u0661\u0662\u0663\u0664\u0665\u0666"):
        assert_problem(await ask(client, person, otp), 400, "invalid_grant")


async def test_a_recovery_code_works_once(
    client: httpx.AsyncClient, person: Person, protected: tuple[str, list[str]], world: World
) -> None:
    """In place of a code, however it is written; the second time it is wrong, for rivals too; others still work."""
    _, codes = protected
    answers = await asyncio.gather(*(ask(client, person, codes[0].upper().replace("-", " ")) for _ in range(3)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 400, 503}
    assert (await ask(client, person, codes[1])).status_code == 200
    assert await world.scalar("SELECT count(*) FROM audit_events WHERE action = 'recovery_code.used'") == 2


async def test_guessing_codes_has_an_end(
    client: httpx.AsyncClient, person: Person, protected: tuple[str, list[str]]
) -> None:
    """Wrong codes count: after ten even the right one has to wait."""
    secret, _ = protected
    for _ in range(10):
        assert (await ask(client, person, "000000")).status_code == 400
    assert_problem(await ask(client, person, code(secret)), 429, "rate_limited")


async def test_guessing_at_once_is_no_better(
    client: httpx.AsyncClient, person: Person, protected: tuple[str, list[str]], world: World
) -> None:
    """Of forty wrong codes at once ten are looked at, at sign-in and by whoever has a token: each waits until those
    before it are counted."""
    answers = await asyncio.gather(*(ask(client, person, "000000") for _ in range(40)))
    assert Counter(answer.status_code for answer in answers) == {400: 10, 429: 30}
    other = await world.person()
    await enrol(client, other)
    answers = await asyncio.gather(*(confirm(client, other, "000000") for _ in range(40)))
    assert Counter(answer.status_code for answer in answers) == {422: 10, 429: 30}


async def test_guessing_from_everywhere_has_an_end(
    app: FastAPI, person: Person, protected: tuple[str, list[str]], world: World
) -> None:
    """Who knows the password and has many addresses gets ten guesses, not ten from each; a recovery code has to wait
    as well."""
    _, codes = protected
    for number in range(11):
        transport = httpx.ASGITransport(app, client=(f"198.51.100.{number}", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as elsewhere:
            answer = await ask(elsewhere, person, codes[0] if number == 10 else "000000")
            assert answer.status_code == (429 if number == 10 else 400)
    assert await world.scalar("SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL") == 0


async def test_turning_it_off_takes_more_than_a_token(
    client: httpx.AsyncClient, person: Person, protected: tuple[str, list[str]], world: World
) -> None:
    """An old session alone is refused; with a code or the password it is off, and the password alone signs in."""
    await world.execute("UPDATE auth_sessions SET created_at = now() - interval '1 hour'")
    assert_problem(await remove(client, person), 422, "validation_error")
    assert_problem(await remove(client, person, {"otp": "000000"}), 422, "validation_error")
    assert_problem(await remove(client, person, {"password": "a wrong password"}), 422, "validation_error")
    assert (await ask(client, person)).status_code == 400
    assert (await remove(client, person, {"otp": code(protected[0])})).status_code == 204
    assert (await ask(client, person)).status_code == 200
    assert await world.count("recovery_codes") == 0


@pytest.mark.parametrize("body", [None, {"password": PASSWORD}])
async def test_a_password_or_a_new_sign_in_turns_it_off(
    client: httpx.AsyncClient, person: Person, protected: tuple[str, list[str]], body: Any
) -> None:
    """Somebody who has just signed in, or types the password, need not have the authenticator at hand."""
    assert (await remove(client, person, body)).status_code == 204
    assert (await ask(client, person)).status_code == 200


async def test_turning_it_on_takes_more_than_a_token(client: httpx.AsyncClient, person: Person, world: World) -> None:
    """An old session alone is refused, however often it was refreshed; the password, or a new sign-in, sets it up."""
    signed_in = (await ask(client, person)).json()
    await world.execute("UPDATE auth_sessions SET created_at = now() - interval '11 minutes'")
    form = {"grant_type": "refresh_token", "refresh_token": signed_in["refresh_token"]}
    refreshed = (await client.post(f"{API}/auth/token", data=form)).json()["access_token"]
    for headers in (person.headers, {"Authorization": f"Bearer {refreshed}"}):
        for body in (None, {}, {"current_password": "a wrong password"}):
            refused = await client.post(f"{API}/auth/mfa/totp", json=body, headers=headers)
            assert assert_problem(refused, 422, "validation_error")["errors"][0]["loc"] == ["body", "current_password"]
    assert await world.count("totp_credentials") == 0
    assert await world.count("audit_events WHERE action = 'password.refused'") == 2
    proof = {"current_password": PASSWORD}
    assert (await client.post(f"{API}/auth/mfa/totp", json=proof, headers=person.headers)).status_code == 201
    again = {"Authorization": f"Bearer {(await ask(client, person)).json()['access_token']}"}
    assert (await client.post(f"{API}/auth/mfa/totp", headers=again)).status_code == 201


async def test_an_operator_lets_the_owner_in_again(
    client: httpx.AsyncClient, person: Person, protected: tuple[str, list[str]], world: World
) -> None:
    """The factor is off, the thief's session has ended, it is on record and the owner is told; once, and live alone."""
    assert protected
    factors, database = world.container.second_factor, world.database
    said = await reset(factors, database, person.email.upper())
    assert f"account {person.id}: the second factor is off" in said
    assert (await client.get(f"{API}/users/me", headers=person.headers)).status_code == 401
    assert (await ask(client, person)).status_code == 200
    assert await world.count("recovery_codes") == 0
    [event] = await world.rows("SELECT actor_type, object_id FROM audit_events WHERE action = 'mfa.reset'")
    assert tuple(event) == ("system", person.id)
    await world.assert_enqueued(SendAccountNotice, user_id=person.id, to=person.email, notice=Notice.MFA_DISABLED)
    with pytest.raises(Conflict, match="no second factor"):
        await reset(factors, database, str(person.id))
    with pytest.raises(NotFound):
        await reset(factors, database, "nobody@example.com")
