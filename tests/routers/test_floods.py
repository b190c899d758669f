"""One address that asks for all there is, and everybody else."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from app.core.hashing import PasswordHasher
from app.core.turns import Turns
from app.services.container import Container
from tests.support import API, PASSWORD, World, eventually, sign_in

ROOM = 4


@pytest.fixture
async def hasher(app: FastAPI, container: Container) -> AsyncIterator[PasswordHasher]:
    """One thread and little room, for registrations and sign-ins alike."""
    few = {"threads": 1, "max_waiting": ROOM, "wait": 30}
    hasher = PasswordHasher(container.settings.hashing.model_copy(update=few))
    users, auth = replace(container.users, hasher=hasher), replace(container.auth, hasher=hasher)
    app.state.container = replace(container, users=users, auth=auth)
    yield hasher
    hasher.close()


def at(app: FastAPI, address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://testserver")


async def register(client: httpx.AsyncClient, number: int) -> int:
    body = {"email": f"flood{number}@example.com", "password": PASSWORD, "full_name": "Flood"}
    return (await client.post(f"{API}/auth/register", json=body)).status_code


async def test_a_flood_of_registrations_denies_nobody_a_sign_in(
    app: FastAPI, world: World, hasher: PasswordHasher
) -> None:
    """With every place in the queue taken by one address, a sign-in from another gets one of them, and one from the
    same goes before its registrations; the flood loses what they take, and the rest of it is served."""
    person = await world.person(password=PASSWORD)
    opened, held = threading.Event(), threading.Event()

    def hold() -> bool:
        held.set()
        return opened.wait(30)

    running = asyncio.create_task(hasher._run(hold))
    assert await asyncio.to_thread(held.wait, 10)

    async def waiting() -> bool:
        return hasher.waiting == ROOM

    async with at(app, "203.0.113.9") as flood, at(app, "198.51.100.4") as other:
        registrations = [asyncio.create_task(register(flood, number)) for number in range(ROOM)]
        await eventually(waiting)
        assert await register(flood, ROOM) == 503
        sign_ins = [asyncio.create_task(sign_in(client, person.email)) for client in (other, flood)]

        async def lost() -> bool:
            return sum(task.done() for task in registrations) == 2

        await eventually(lost)
        opened.set()
        assert [answer.status_code for answer in await asyncio.gather(*sign_ins)] == [200, 200]
        assert sorted(await asyncio.gather(*registrations)) == [202, 202, 503, 503]
    await running


async def test_a_flood_of_sign_ins_denies_nobody_else_theirs(
    app: FastAPI, world: World, hasher: PasswordHasher
) -> None:
    """With every place taken by sign-ins of one address, the next of that address is refused, and one from another
    address is served."""
    person = await world.person(password=PASSWORD)
    opened = threading.Event()
    running = asyncio.create_task(hasher._run(lambda: opened.wait(30)))

    async def waiting() -> bool:
        return hasher.waiting == ROOM

    async with at(app, "203.0.113.9") as flood, at(app, "198.51.100.4") as other:
        flooding = [asyncio.create_task(sign_in(flood, f"nobody{number}@example.com")) for number in range(ROOM)]
        await eventually(waiting)
        assert (await sign_in(flood, person.email)).status_code == 503
        signed_in = asyncio.create_task(sign_in(other, person.email))

        async def lost() -> bool:
            return any(task.done() for task in flooding)

        await eventually(lost)
        opened.set()
        assert (await signed_in).status_code == 200
        assert sorted(answer.status_code for answer in await asyncio.gather(*flooding)) == [400, 400, 400, 503]
    await running


async def test_guesses_at_once_are_as_many_as_one_after_the_other(
    app: FastAPI, world: World, hasher: PasswordHasher, container: Container
) -> None:
    """Thirty wrong passwords that pass the look at the limit together are ten refusals, or a few more by chance; the
    right one behind them has to wait as if they had come one by one. Right ones alone are as many as one likes."""
    person, other = await world.person(password=PASSWORD), await world.person(password=PASSWORD)
    hasher._turns = Turns(1, room=100)
    # So dear that one failure is counted before the next is known, whatever else the machine does.
    hasher._rounds = 8
    opened, allowed = threading.Event(), container.settings.auth.max_failures
    running = asyncio.create_task(hasher._run(lambda: opened.wait(30)))
    guesses = 3 * allowed

    async with at(app, "203.0.113.9") as client:
        asked = [asyncio.create_task(sign_in(client, person.email, "a wrong password")) for _ in range(guesses)]

        async def waiting() -> bool:
            return hasher.waiting == len(asked)

        await eventually(waiting)
        asked.append(asyncio.create_task(sign_in(client, person.email)))
        await eventually(waiting)
        asked += [asyncio.create_task(sign_in(client, other.email)) for _ in range(guesses)]
        await eventually(waiting)
        opened.set()
        statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
    assert statuses[guesses:] == [429] + [200] * guesses
    assert set(statuses[:guesses]) == {400, 429}
    assert allowed <= statuses[:guesses].count(400) <= allowed + 5
    await running


async def test_addresses_of_one_subscriber_are_one(app: FastAPI, world: World, hasher: PasswordHasher) -> None:
    """A /64 of IPv6 is one source: its many addresses have one share of the queue."""
    opened = threading.Event()
    running = asyncio.create_task(hasher._run(lambda: opened.wait(30)))

    async def waiting() -> bool:
        return hasher.waiting == ROOM

    clients = [at(app, f"2001:db8::{number:x}") for number in range(1, ROOM + 2)]
    registrations = [asyncio.create_task(register(clients[number], number)) for number in range(ROOM)]
    await eventually(waiting)
    assert await register(clients[ROOM], ROOM) == 503
    opened.set()
    assert await asyncio.gather(*registrations) == [202] * ROOM
    await running
    for client in clients:
        await client.aclose()
