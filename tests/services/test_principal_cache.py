"""What a process remembers of who asks, and how it hears that this is no longer so; on a real database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.config import Settings
from app.core import notices as notices_module
from app.core.notices import Notices
from app.services.container import Container, build
from app.services.principal_cache import MAX_SESSIONS, PrincipalCache
from tests.support import API, PASSWORD, Person, World, assert_problem, eventually, sign_in


@pytest.fixture
def pulse() -> float:
    """Seconds; so many that a test's process may stand still for a while and not be taken for deaf."""
    return 20.0


@pytest.fixture
async def listening(container: Container, pulse: float, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Container]:
    """The process under test hears, as the API does."""
    monkeypatch.setattr(notices_module, "PULSE", pulse)
    task = asyncio.create_task(container.notices.run())
    await eventually(lambda: _listens(container))
    yield container
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not container.notices.listening


@pytest.fixture
async def elsewhere(settings: Settings, world: World) -> AsyncIterator[Container]:
    """Another process of the API, which hears as well."""
    container = build(settings, role="api")
    await container.keys.ensure()
    task = asyncio.create_task(container.notices.run())
    await eventually(lambda: _listens(container))
    yield container
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await container.close()


async def _listens(container: Container) -> bool:
    return container.notices.listening


def remembered(container: Container, person: Person) -> bool:
    return container.auth.principals.get(person.id, person.session_id, "") is not None


async def me(client: httpx.AsyncClient, person: Person) -> int:
    return (await client.get(f"{API}/users/me", headers=person.headers)).status_code


async def test_the_common_request_reads_nothing(
    client: httpx.AsyncClient, world: World, listening: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request of a session is answered without a statement; without ears every request reads."""
    person = await world.person()
    assert await me(client, person) == 200
    assert remembered(listening, person)
    statements: list[Any] = []
    run = type(listening.database.read)._once

    async def counted(self: Any, statement: Any, values: Any) -> Any:
        statements.append(statement)
        return await run(self, statement, values)

    monkeypatch.setattr(type(listening.database.read), "_once", counted)
    assert await me(client, person) == 200
    assert statements == []
    listening.notices._deaf()
    assert await me(client, person) == 200
    assert len(statements) >= 1


CHANGES = {
    "a session ended": "UPDATE auth_sessions SET revoked_at = now() WHERE user_id = :id",
    "a session gone": "DELETE FROM auth_sessions WHERE user_id = :id",
    "an account off": "UPDATE users SET is_active = false WHERE id = :id",
    "an account deleted": "UPDATE users SET deleted_at = now() WHERE id = :id",
    "another role": "UPDATE users SET role = 'admin' WHERE id = :id",
    "another name": "UPDATE users SET full_name = 'Else' WHERE id = :id",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_by_hand_is_heard(
    client: httpx.AsyncClient, world: World, listening: Container, change: str
) -> None:
    """Whatever a principal is made of may be changed in SQL: the process forgets that principal, and no other."""
    person, other = await world.person(), await world.person()
    assert [await me(client, one) for one in (person, other)] == [200, 200]
    await world.execute(CHANGES[change], id=person.id)

    async def forgotten() -> bool:
        return not remembered(listening, person)

    await eventually(forgotten)
    assert remembered(listening, other)


async def test_what_does_not_matter_is_not_told(client: httpx.AsyncClient, world: World, listening: Container) -> None:
    """A sign-in, a refresh and a new hash of the password leave everything remembered."""
    person = await world.person(password=PASSWORD)
    assert await me(client, person) == 200
    pair = (await sign_in(client, person.email)).json()
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    assert (await client.post(f"{API}/auth/token", data=form)).status_code == 200
    await world.execute("UPDATE users SET password_hash = '!' WHERE id = :id", id=person.id)
    await world.execute("UPDATE users SET full_name = 'Else' WHERE id = -1")
    async with listening.database.session_scope() as session:
        await listening.notices.follow(session)
    assert remembered(listening, person)


async def test_an_answer_waits_until_its_process_has_heard(
    client: httpx.AsyncClient, world: World, listening: Container, elsewhere: Container
) -> None:
    """After a logout, an ended session, a new password, name or role, or the end of an account, the very next request
    sees it in this process, and within a moment in every other."""
    boss = await world.superadmin()
    for step in ("logout", "session", "sessions", "off", "role", "delete"):
        person = await world.person(password=PASSWORD)
        pair = (await sign_in(client, person.email)).json()
        token = {"Authorization": f"Bearer {pair['access_token']}"}
        items = (await client.get(f"{API}/auth/sessions", headers=token)).json()["items"]
        session_id = next(one["id"] for one in items if one["current"])
        victim = replace(person, headers=token, session_id=session_id)
        assert await me(client, victim) == 200
        await elsewhere.auth.authenticate(elsewhere.database.read, token=pair["access_token"])
        assert remembered(listening, victim)
        assert remembered(elsewhere, victim)
        where = f"{API}/users/{person.id}"
        match step:
            case "logout":
                await client.post(f"{API}/auth/logout", json={"refresh_token": pair["refresh_token"]})
            case "session":
                await client.delete(f"{API}/auth/sessions/{session_id}", headers=person.headers)
            case "sessions":
                await client.delete(f"{API}/auth/sessions", headers=token)
            case "off":
                await client.patch(where, json={"is_active": False}, headers=boss.headers)
            case "role":
                await client.patch(where, json={"role": "admin"}, headers=boss.headers)
            case _:
                await client.delete(where, headers=boss.headers)
        assert await me(client, victim) == 401, step

        async def forgotten(victim: Person = victim) -> bool:
            return not remembered(elsewhere, victim)

        await eventually(forgotten)


@pytest.mark.parametrize("late", [0.2, 30.0], ids=["late", "never"])
async def test_the_answer_waits_for_its_own_notice(
    client: httpx.AsyncClient, world: World, container: Container, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """However late a process hears: once a logout has answered, it takes the token no more. A notice that does not come
    makes it forget everybody."""
    person = await world.person(password=PASSWORD)
    pair = (await sign_in(client, person.email)).json()
    token = {"Authorization": f"Bearer {pair['access_token']}"}
    heard, loop = Notices._heard, asyncio.get_running_loop()
    slow = asyncio.Event()

    def hear(self: Notices, *notice: Any) -> None:
        if slow.is_set():
            loop.call_later(late, heard, self, *notice)
        else:
            heard(self, *notice)

    monkeypatch.setattr(Notices, "_heard", hear)
    # Its pulse would find out by itself that it hears late; here the answer alone may.
    monkeypatch.setattr(notices_module, "PULSE", 20.0)
    task = asyncio.create_task(container.notices.run())
    await eventually(lambda: _listens(container))
    assert (await client.get(f"{API}/users/me", headers=token)).status_code == 200
    slow.set()
    ended = await client.post(f"{API}/auth/logout", json={"refresh_token": pair["refresh_token"]})
    assert ended.status_code == 204
    assert_problem(await client.get(f"{API}/users/me", headers=token), 401, "invalid_token")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_own_profile_is_never_stale(client: httpx.AsyncClient, world: World, listening: Container) -> None:
    """A name that was changed a moment ago is what the next request reads, twenty times over."""
    person = await world.person()
    for number in range(20):
        changed = await client.patch(f"{API}/users/me", json={"full_name": f"N {number}"}, headers=person.headers)
        read = await client.get(f"{API}/users/me", headers=person.headers)
        assert (changed.status_code, read.json()["full_name"]) == (200, f"N {number}")


async def test_a_changed_password_ends_the_others_at_once(
    client: httpx.AsyncClient, world: World, listening: Container
) -> None:
    """The session that changed it goes on."""
    person = await world.person(password=PASSWORD)
    other = {"Authorization": f"Bearer {(await sign_in(client, person.email)).json()['access_token']}"}
    assert (await client.get(f"{API}/users/me", headers=other)).status_code == 200
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    assert (await client.post(f"{API}/users/me/password", json=body, headers=person.headers)).status_code == 204
    assert_problem(await client.get(f"{API}/users/me", headers=other), 401, "invalid_token")
    assert await me(client, person) == 200


async def test_a_lost_connection_is_deafness(client: httpx.AsyncClient, world: World, listening: Container) -> None:
    """When the listening connection ends everything is forgotten, and the process listens again by itself."""
    person = await world.person()
    assert await me(client, person) == 200
    await world.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'frontdesk-listen'"
    )

    async def forgotten() -> bool:
        return not remembered(listening, person)

    await eventually(forgotten)
    await eventually(lambda: _listens(listening))
    assert await me(client, person) == 200
    assert remembered(listening, person)


@pytest.mark.parametrize("pulse", [1.0])
async def test_a_silent_connection_is_deafness(
    client: httpx.AsyncClient, world: World, listening: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that stands and brings nothing is found out by the next pulse."""
    person = await world.person()
    assert await me(client, person) == 200
    # It goes on to listen on the old channel, while the pulse is sent on another.
    monkeypatch.setattr(notices_module, "CHANNEL", "elsewhere")

    async def forgotten() -> bool:
        return not remembered(listening, person)

    await eventually(forgotten)


async def test_a_read_that_a_change_overtook_is_not_kept(world: World, listening: Container) -> None:
    """What was read before a change that has been heard meanwhile is used once and forgotten."""
    person = await world.person()
    token = person.headers["Authorization"].removeprefix("Bearer ")
    cache = listening.auth.principals
    principal = await listening.auth.authenticate(listening.database.read, token=token)
    ticket = cache.ticket()
    async with listening.database.session_scope() as session:
        await listening.sessions.end_all(session, principal=principal)
    cache.keep(principal, "", ticket=ticket)
    assert not remembered(listening, person)


async def test_what_is_remembered_is_bounded_and_ages(world: World, listening: Container) -> None:
    """Only so many principals and sessions of one are kept, and none longer than the settings say."""
    person = await world.person()
    token = person.headers["Authorization"].removeprefix("Bearer ")
    principal = await listening.auth.authenticate(listening.database.read, token=token)
    for seconds, kept in ((60, True), (0, False)):
        cache = PrincipalCache(listening.notices, seconds=seconds)
        for session_id in range(3 * MAX_SESSIONS):
            cache.keep(replace(principal, session_id=session_id), "", ticket=cache.ticket())
        assert len(cache._known[principal.id]) <= MAX_SESSIONS
        assert (cache.get(principal.id, 3 * MAX_SESSIONS - 1, "") is not None) is kept
        for id_ in range(5000):
            cache.keep(replace(principal, id=id_), "", ticket=cache.ticket())
        assert len(cache._known) == 4096
