"""Revocation over several processes of the API: what one has ended no other takes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.hostile.process import ApiProcess
from tests.support import API, PASSWORD, Person, World, eventually

WORKERS, ASKED = 3, 30


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[ApiProcess]:
    """One address, several processes (gunicorn)."""
    process = ApiProcess(tmp_path, {"API_WORKERS": str(WORKERS), "LOG_FORMAT": "json"})
    await process.start()
    yield process
    process.stop()


async def statuses(many: ApiProcess, person: Person) -> list[int]:
    """Of many requests at once, each on a connection of its own, so that every process answers some."""
    answers = await asyncio.gather(*(many.get(f"{API}/users/me", person.headers) for _ in range(ASKED)))
    return [answer.status for answer in answers]


@pytest.mark.timeout(120)
async def test_what_one_process_ends_no_other_takes(many: ApiProcess, world: World) -> None:
    """A session that every process knows is refused by all of them once it has ended, by a request or by hand."""

    async def all_listen() -> bool:
        return many.log.read_text().count("listening for changes") >= WORKERS

    await eventually(all_listen, seconds=30)
    boss = await world.superadmin()
    for how in ("logout", "sessions", "off", "sql"):
        person = await world.person(password=PASSWORD)
        refresh_token = ""
        if how == "logout":
            form = urlencode({"grant_type": "password", "username": person.email, "password": PASSWORD}).encode()
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            pair = (await many.ask("POST", f"{API}/auth/token", kind, form)).json()
            refresh_token = pair["refresh_token"]
            person = replace(person, headers={"Authorization": f"Bearer {pair['access_token']}"})
        for _ in range(3):
            assert set(await statuses(many, person)) == {200}
        if how == "logout":
            ended = await many.ask("POST", f"{API}/auth/logout", None, {"refresh_token": refresh_token})
            assert ended.status == 204
        elif how == "sessions":
            ended = await many.ask("DELETE", f"{API}/auth/sessions", person.headers)
            assert ended.status == 204
        elif how == "off":
            off = await many.ask("PATCH", f"{API}/users/{person.id}", boss.headers, {"is_active": False})
            assert off.status == 200
        else:
            await world.execute("UPDATE auth_sessions SET revoked_at = now() WHERE user_id = :id", id=person.id)

        async def refused(person: Person = person) -> bool:
            return set(await statuses(many, person)) == {401}

        # Soon, that is: by itself a process forgets a session after AUTH_PRINCIPAL_SECONDS, half a minute.
        await eventually(refused, seconds=10, every=0.01)
        assert await refused()
