"""Registering and confirming an e-mail."""

import asyncio
import re
from collections import Counter
from email import message_from_bytes, policy
from typing import Any

import httpx
import pytest

from app.schemas.messages.mails import SendAccountExistsMail, SendVerificationMail
from app.services.container import Container
from app.services.mails import MAX_MAILS
from tests.support import API, PASSWORD, World, assert_problem, sign_in

PAT = {"email": "pat@example.com", "password": PASSWORD, "full_name": "Pat"}


async def register(client: httpx.AsyncClient, **fields: object) -> httpx.Response:
    return await client.post(f"{API}/auth/register", json=PAT | fields)


async def mailed_token(world: World, container: Container) -> str:
    """The token in the one mail that is there."""
    await world.run_jobs()
    (file,) = container.settings.mail.directory.glob("*.eml")
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    text = mail.get_body(("plain",))
    assert text is not None
    found = re.search(r"#token=(\S+)", text.get_content())
    assert found
    return found[1]


async def test_an_account_is_made_once(client: httpx.AsyncClient, world: World) -> None:
    """The second registration of an e-mail, in any case, answers byte for byte the same and mails the owner instead."""
    first = await register(client)
    assert (first.status_code, first.json()) == (202, {"email": "pat@example.com"})
    second = await register(client, password="another password", full_name="Mallory")
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert {*first.headers} == {*second.headers}
    third = await register(client, email="PAT@EXAMPLE.COM")
    assert third.status_code == 202
    (user,) = await world.rows("SELECT * FROM users")
    assert (user.role, user.full_name, user.is_active, user.email_verified) == ("client", "Pat", True, False)
    await world.assert_enqueued(SendVerificationMail, user_id=user.id)
    assert [one.user_id for one in await world.enqueued(SendAccountExistsMail)] == [user.id] * 2
    assert (await sign_in(client, "pat@example.com", "another password")).status_code == 400
    assert (await sign_in(client, "pat@example.com")).status_code == 200


async def test_a_taken_address_is_no_way_to_flood_its_owner(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """Registered again and again, an address gets a few mails an hour, while every answer stays the same; another
    account has its own few, and the owner's other mails still come."""
    other = await world.person()
    for email in ["pat@example.com"] * (MAX_MAILS + 4) + [other.email]:
        assert (await register(client, email=email)).status_code == 202
    assert (await client.post(f"{API}/auth/password/forgot", json={"email": "pat@example.com"})).status_code == 202
    await world.run_jobs()
    sent = [path.read_text() for path in container.settings.mail.directory.glob("*.eml")]
    subjects = Counter(re.findall(r"^(?:Subject|To): .*", "\n".join(sent), re.MULTILINE))
    clinic = container.settings.clinic.name
    assert subjects[f"Subject: You already have an account with {clinic}"] == MAX_MAILS + 1
    assert subjects["To: pat@example.com"] == 1 + MAX_MAILS + 1


async def test_no_mail_says_what_a_stranger_wrote(client: httpx.AsyncClient, world: World) -> None:
    """The name is left out of whatever goes to an address that nobody has verified; whoever did is called by it."""
    lure = "You won EUR 500 at https://evil.example/x"
    await register(client, full_name=lure)
    await register(client)
    await client.post(f"{API}/auth/password/forgot", json={"email": "pat@example.com"})
    token = (await sign_in(client, "pat@example.com")).json()["access_token"]
    headers, change = {"Authorization": f"Bearer {token}"}, {"current_password": PASSWORD}
    wanted = {**change, "email": "victim@example.com"}
    assert (await client.post(f"{API}/users/me/email", json=wanted, headers=headers)).status_code == 202
    changed = await client.post(
        f"{API}/users/me/password", json={**change, "new_password": "another horse"}, headers=headers
    )
    assert changed.status_code == 204
    await world.run_jobs()
    folder = world.container.settings.mail.directory
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in folder.glob("*.eml")]
    parts = [part.get_content() for mail in mails for part in mail.walk() if not part.is_multipart()]
    assert len(parts) == 2 * 6
    assert not [part for part in parts if "evil" in part or "EUR" in part]
    assert all("Hello," in part for part in parts)
    known = await world.person(email="known@example.com", full_name="Zoë")
    await register(client, email=known.email)
    await world.run_jobs()
    assert len([file for file in folder.glob("*.eml") if "Hello Zo" in file.read_text()]) == 1


async def test_rivals_for_one_address_make_one_account(client: httpx.AsyncClient, world: World) -> None:
    """Ten registrations at once: all answer the same, one account, one verification mail."""
    answers = await asyncio.gather(*(register(client, email=f"p{'aA'[n % 2]}t@example.com") for n in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert await world.scalar("SELECT count(*) FROM users") == 1
    assert len(await world.enqueued(SendVerificationMail)) == 1
    assert len(await world.enqueued(SendAccountExistsMail)) == 9


async def test_a_deleted_accounts_address_is_free_again(client: httpx.AsyncClient, world: World) -> None:
    """After its deletion an e-mail can be registered anew, as another account."""
    admin, old = await world.admin(), await world.person(email="pat@example.com")
    assert (await client.delete(f"{API}/users/{old.id}", headers=admin.headers)).status_code == 204
    await register(client)
    assert (await sign_in(client, "pat@example.com")).status_code == 200
    assert await world.scalar("SELECT count(*) FROM users WHERE email = 'pat@example.com'") == 2


REFUSED: list[Any] = [
    {"email": "nobody"},
    {"email": "a@b@c.example.com"},
    {"email": ""},
    {"email": "x" * 250 + "@example.com"},
    {"email": "pat\r\nBcc: all@example.com"},
    {"email": "pat@example.com\u0000"},
    {"email": None},
    {"email": ["pat@example.com"]},
    {"password": "short 7"},
    {"password": "x" * 257},
    {"password": None},
    {"password": 12345678},
    {"full_name": ""},
    {"full_name": "  "},
    {"full_name": "x" * 201},
    {"role": "admin"},
    {"is_active": True},
    {"email_verified": True},
]


async def test_what_makes_no_account(client: httpx.AsyncClient, world: World) -> None:
    """A broken address, a password out of bounds, an empty name and fields that nobody may set: 422, no account."""
    for fields in REFUSED:
        body = assert_problem(await register(client, **fields), 422, "validation_error")
        assert body["errors"][0]["loc"] == ["body", *fields]
        assert "pat@example.com" not in str(body["errors"])
        assert await world.scalar("SELECT count(*) FROM users") == 0


@pytest.mark.parametrize(
    "email",
    [
        "Pat@Example.COM",
        "  pat@example.com ",
        "PÄT@example.com",
        "İrem@example.com",
        "pät@exämple.com",
        "pa\u0308t@example.com",
        "pat@xn--exmple-cua.com",
    ],
)
async def test_the_same_address_signs_in(client: httpx.AsyncClient, email: str) -> None:
    """Whoever registered signs in with the address as they typed it then, and in another case."""
    assert (await register(client, email=email)).status_code == 202
    assert (await sign_in(client, email)).status_code == 200
    other = "".join(char.swapcase() if char.isascii() else char for char in email)
    assert (await sign_in(client, other)).status_code == 200


async def test_a_mailed_token_confirms_once(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """The token of the mail verifies the account and is used up by it; whatever else is sent verifies nothing."""
    await register(client)
    token = await mailed_token(world, container)
    for wrong in (token[:-1], token + "A", token.swapcase(), "\u0000", "x" * 512):
        refused = await client.post(f"{API}/auth/verify-email", json={"token": wrong})
        assert_problem(refused, 422, "validation_error")
    assert not await world.scalar("SELECT email_verified FROM users")
    answers = await asyncio.gather(*(client.post(f"{API}/auth/verify-email", json={"token": token}) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [204, 422, 422, 422, 422]
    assert next(answer for answer in answers if answer.status_code == 204).content == b""
    assert await world.scalar("SELECT email_verified FROM users")
    me = (await sign_in(client, "pat@example.com")).json()["access_token"]
    shown = await client.get(f"{API}/users/me", headers={"Authorization": f"Bearer {me}"})
    assert shown.json()["email_verified"] is True


async def test_a_mailed_token_expires(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """After its hours the token confirms nothing; nor does one whose account is gone."""
    await register(client)
    token = await mailed_token(world, container)
    hours = "SELECT extract(epoch FROM expires_at - now()) / 3600 FROM one_time_tokens"
    assert float(await world.scalar(hours)) == pytest.approx(container.settings.auth.verification_hours, abs=0.1)
    await world.execute("UPDATE one_time_tokens SET expires_at = now() - interval '1 second'")
    late = await client.post(f"{API}/auth/verify-email", json={"token": token})
    assert_problem(late, 422, "validation_error")
    await world.execute("UPDATE one_time_tokens SET expires_at = now() + interval '1 hour'")
    await world.execute("UPDATE users SET deleted_at = now()")
    gone = await client.post(f"{API}/auth/verify-email", json={"token": token})
    assert_problem(gone, 422, "validation_error")
