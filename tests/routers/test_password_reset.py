"""A forgotten password, and another address for an account."""

import asyncio
import re
from collections.abc import Callable
from email import message_from_bytes, policy
from typing import Any

import httpx
import pytest

from app.schemas.messages.accounts import Notice, SendAccountNotice, SendPasswordResetMail
from app.services.container import Container
from app.services.mails import MAX_MAILS
from tests.support import API, PASSWORD, Person, World, assert_problem, sign_in

NEW = "an even better one"


@pytest.fixture
def mails(container: Container) -> Callable[[str], list[str]]:
    """Looks into the mailboxes: `mails(to)` gives the texts of what was sent there."""

    def to(address: str) -> list[str]:
        found = []
        for file in sorted(container.settings.mail.directory.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns):
            mail = message_from_bytes(file.read_bytes(), policy=policy.default)
            body = mail.get_body(("plain",))
            assert body is not None
            if mail["To"] == address:
                found.append(body.get_content())
        return found

    return to


def token_of(text: str) -> str:
    found = re.search(r"#token=(\S+)", text)
    assert found
    return found[1]


async def forgot(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post(f"{API}/auth/password/forgot", json={"email": email})


async def reset(client: httpx.AsyncClient, token: str, password: str = NEW) -> httpx.Response:
    return await client.post(f"{API}/auth/password/reset", json={"token": token, "password": password})


async def mailed_reset(client: httpx.AsyncClient, world: World, mails: Any, person: Person) -> str:
    assert (await forgot(client, person.email.upper())).status_code == 202
    await world.run_jobs()
    return token_of(mails(person.email)[-1])


def assert_dead(answer: httpx.Response) -> None:
    assert assert_problem(answer, 422, "validation_error")["errors"][0]["type"] == "token_invalid"


async def test_a_mailed_link_sets_a_password_once(client: httpx.AsyncClient, world: World, mails: Any) -> None:
    """The token sets the password, verifies the address, ends every session, and then it is spent."""
    person = await world.person(password=PASSWORD, email_verified=False)
    token = await mailed_reset(client, world, mails, person)
    for wrong in (token[:-1], token + "A", "\u0000", "x" * 512):
        assert_dead(await reset(client, wrong))
    done = await reset(client, token)
    assert (done.status_code, done.content) == (204, b"")
    assert_problem(await client.get(f"{API}/users/me", headers=person.headers), 401, "invalid_token")
    assert (await sign_in(client, person.email)).status_code == 400
    assert (await sign_in(client, person.email, NEW)).status_code == 200
    assert await world.scalar("SELECT email_verified FROM users WHERE id = :id", id=person.id)
    assert_dead(await reset(client, token, "a third password"))
    assert (await sign_in(client, person.email, NEW)).status_code == 200
    await world.assert_enqueued(SendAccountNotice, user_id=person.id, notice=Notice.PASSWORD_CHANGED)
    assert await world.scalar("SELECT count(*) FROM audit_events WHERE action = 'password.reset'") == 1


async def test_nobody_can_tell_who_has_an_account(client: httpx.AsyncClient, world: World, mails: Any) -> None:
    """A known, an unknown and a switched-off address get byte for byte the same answer, at the same statements."""
    person = await world.person()
    await world.person(email="off@example.com", is_active=False)
    answers = {email: await forgot(client, email) for email in (person.email, "no@example.com", "off@example.com")}
    for email, answer in answers.items():
        assert (answer.status_code, answer.json()) == (202, {"email": email})
        assert {*answer.headers} == {*answers[person.email].headers}
    # What the request does is one row in the ledger, whoever is named: nothing is looked up that could take its time.
    assert [one.email for one in await world.enqueued(SendPasswordResetMail)] == list(answers)
    await world.run_jobs()
    assert [len(mails(email)) for email in answers] == [1, 0, 0]


async def test_of_rivals_with_one_link_one_wins(client: httpx.AsyncClient, world: World, mails: Any) -> None:
    """Two resets with one token at once: one sets its password, the other finds the token dead."""
    person = await world.person(password=PASSWORD)
    token = await mailed_reset(client, world, mails, person)
    passwords = ["the first one wins", "the second one wins"]
    answers = await asyncio.gather(*(reset(client, token, password) for password in passwords))
    assert sorted(answer.status_code for answer in answers) == [204, 422]
    winner = next(word for word, answer in zip(passwords, answers, strict=True) if answer.status_code == 204)
    assert (await sign_in(client, person.email, winner)).status_code == 200


async def test_a_link_dies(client: httpx.AsyncClient, world: World, mails: Any) -> None:
    """By time, by another link's use, by a changed password, and with the account."""
    person = await world.person(password=PASSWORD)
    old = await mailed_reset(client, world, mails, person)
    await world.execute("UPDATE one_time_tokens SET expires_at = now()")
    assert_dead(await reset(client, old))
    first = await mailed_reset(client, world, mails, person)
    second = await mailed_reset(client, world, mails, person)
    assert first != second
    assert (await reset(client, second)).status_code == 204
    assert_dead(await reset(client, first))
    third = await mailed_reset(client, world, mails, person)
    await world.execute("UPDATE users SET is_active = false WHERE id = :id", id=person.id)
    assert_dead(await reset(client, third))


async def test_a_refused_password_leaves_the_link(client: httpx.AsyncClient, world: World, mails: Any) -> None:
    """A common or too short password is refused, and the link can be used again."""
    person = await world.person(password=PASSWORD)
    token = await mailed_reset(client, world, mails, person)
    for password in ("Password123", "short", person.email):
        assert_problem(await reset(client, token, password), 422, "validation_error")
    assert (await reset(client, token)).status_code == 204


async def test_links_are_not_a_flood(client: httpx.AsyncClient, world: World, mails: Any) -> None:
    """Asked for again and again, an account is mailed a few links an hour, while every answer stays the same."""
    person = await world.person()
    for _ in range(MAX_MAILS + 3):
        assert (await forgot(client, person.email)).status_code == 202
    await world.run_jobs()
    assert len(mails(person.email)) == MAX_MAILS


async def ask_change(client: httpx.AsyncClient, person: Person, email: str, password: str = PASSWORD) -> httpx.Response:
    body = {"email": email, "current_password": password}
    return await client.post(f"{API}/users/me/email", json=body, headers=person.headers)


async def confirm(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post(f"{API}/auth/confirm-email", json={"token": token})


async def test_an_address_changes_once_its_mailbox_answers(client: httpx.AsyncClient, world: World, mails: Any) -> None:
    """The link goes to the new address, word of it to the old one; opened, it makes the new one the account's."""
    person = await world.person(password=PASSWORD)
    forgotten = await mailed_reset(client, world, mails, person)
    wrong = await ask_change(client, person, "new@example.com", "not the password")
    assert assert_problem(wrong, 422, "validation_error")["errors"][0]["type"] == "password_wrong"
    asked = await ask_change(client, person, "new@example.com")
    assert (asked.status_code, asked.json()) == (202, {"email": "new@example.com"})
    await world.run_jobs()
    assert "another address" in mails(person.email)[-1]
    assert (await sign_in(client, "new@example.com")).status_code == 400
    (mail,) = mails("new@example.com")
    assert_dead(await reset(client, token_of(mail)))
    assert (await confirm(client, token_of(mail))).status_code == 204
    assert (await sign_in(client, "new@example.com")).status_code == 200
    assert (await sign_in(client, person.email)).status_code == 400
    assert_dead(await confirm(client, token_of(mail)))
    assert_dead(await reset(client, forgotten))
    await world.run_jobs()
    assert "no longer belongs" in mails(person.email)[-1]


async def test_a_taken_address_answers_the_same(client: httpx.AsyncClient, world: World, mails: Any) -> None:
    """Asked for, it looks like any other; taken meanwhile, its link is dead; nobody loses an account."""
    person, other = await world.person(password=PASSWORD), await world.person(email="taken@example.com")
    answer = await ask_change(client, person, "Taken@example.com")
    assert (answer.status_code, answer.json()) == (202, {"email": "Taken@example.com"})
    await ask_change(client, person, "free@example.com")
    await world.run_jobs()
    assert mails("Taken@example.com") == mails(other.email) == []
    await world.person(email="FREE@example.com")
    assert_dead(await confirm(client, token_of(mails("free@example.com")[0])))
    assert (await sign_in(client, person.email)).status_code == 200


async def test_no_job_tells_who_has_an_account(client: httpx.AsyncClient, world: World) -> None:
    """What became of the mail to a new address, and when, is for staff to see: whoever asked for it gets 404 for the
    job, its result and its changes, of a free address and a taken one."""
    person, other = await world.person(password=PASSWORD), await world.person()
    for email in ("free@example.com", other.email):
        assert (await ask_change(client, person, email)).status_code == 202
    await world.run_jobs()
    jobs = await world.rows("SELECT id, created_by FROM jobs WHERE name = 'mail.email_change'")
    assert [job.created_by for job in jobs] == [person.id] * 2
    admin = await world.admin()
    for job in jobs:
        for end in ("", "/result", "/events"):
            answer = await client.get(f"{API}/jobs/{job.id}{end}", headers=person.headers)
            assert_problem(answer, 404, "not_found")
        seen = (await client.get(f"{API}/jobs/{job.id}", headers=admin.headers)).json()
        assert seen["status"] == "succeeded"


async def test_guessing_a_password_with_a_stolen_token_has_an_end(client: httpx.AsyncClient, world: World) -> None:
    """Ten wrong present passwords, and the eleventh try is 429, the right one too."""
    person = await world.person(password=PASSWORD)
    for _ in range(10):
        assert (await ask_change(client, person, "new@example.com", "not the password")).status_code == 422
    assert_problem(await ask_change(client, person, "new@example.com"), 429, "rate_limited")
