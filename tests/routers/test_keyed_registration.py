"""An account under an `Idempotency-Key`: its password is hashed before the transaction, and once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from app.config import HashingSettings, Settings
from app.core.hashing import PasswordHasher
from app.services.container import Container, build
from app.services.users import UserService
from tests.support import API, PASSWORD, World, assert_problem, eventually

REGISTER = f"{API}/auth/register"


class SlowHasher(PasswordHasher):
    """Hashes nothing until it is told to go."""

    def __init__(self, settings: HashingSettings) -> None:
        super().__init__(settings)
        self.go = asyncio.Event()
        self.asked = 0

    async def hash(self, password: str, *, yields: bool = False) -> str:
        self.asked += 1
        await self.go.wait()
        return await super().hash(password, yields=yields)


@pytest.fixture
async def hasher(app: FastAPI, container: Container, settings: Settings) -> AsyncIterator[SlowHasher]:
    """The service has two connections to the database, and a hasher that is slow."""
    two = settings.database.model_copy(update={"pool_size": 2, "pool_overflow": 0, "pool_wait": 1.0})
    small = build(settings.model_copy(update={"database": two}), role="api")
    slow = SlowHasher(settings.hashing)
    app.state.container = replace(small, users=UserService(slow), keys=container.keys, auth=container.auth)
    yield slow
    slow.close()
    await small.close()


def body(number: int = 0) -> dict[str, str]:
    return {"email": f"pat{number}@example.com", "password": PASSWORD, "full_name": "Pat Ient"}


async def register(client: httpx.AsyncClient, key: str, number: int = 0) -> httpx.Response:
    return await client.post(REGISTER, json=body(number), headers={"Idempotency-Key": key})


async def test_nobody_waits_for_passwords(client: httpx.AsyncClient, world: World, hasher: SlowHasher) -> None:
    """While ten registrations and an admin's account, each under a key, wait for their hashes, two connections are
    enough for a read; then each makes its account."""
    admin = await world.admin()
    under_key = admin.headers | {"Idempotency-Key": "k"}
    waiting = [asyncio.create_task(register(client, f"k{number}", number)) for number in range(10)]
    waiting.append(asyncio.create_task(client.post(f"{API}/users", json=body(10), headers=under_key)))
    await eventually(lambda: _true(hasher.asked == 11))
    async with asyncio.timeout(5):
        assert (await client.get(f"{API}/doctors")).status_code == 200
    assert not any(task.done() for task in waiting)
    hasher.go.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [202] * 10 + [201]
    assert await world.count("users") == 12


async def test_a_repeat_is_refused_before_it_is_hashed(
    client: httpx.AsyncClient, world: World, hasher: SlowHasher
) -> None:
    """While the first waits for its hash the second is 409 idempotency_in_flight; once it is done, a replay; another
    body under its key is 422 all the while. One hash, one account."""
    first = asyncio.create_task(register(client, "k"))
    await eventually(lambda: _true(hasher.asked == 1))
    assert_problem(await register(client, "k"), 409, "idempotency_in_flight")
    assert_problem(await register(client, "k", 1), 422, "idempotency_mismatch")
    hasher.go.set()
    done = await first
    again = await register(client, "k")
    assert (again.status_code, again.content) == (202, done.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert_problem(await register(client, "k", 1), 422, "idempotency_mismatch")
    assert hasher.asked == 1
    assert await world.count("users") == 1


async def test_what_failed_may_be_repeated(client: httpx.AsyncClient, world: World, hasher: SlowHasher) -> None:
    """A refused password, and a client that went away while it was hashed, leave no key that is in flight."""
    hasher.go.set()
    common = await client.post(REGISTER, json=body() | {"password": "password"}, headers={"Idempotency-Key": "k"})
    assert_problem(common, 422, "validation_error")
    hasher.go.clear()
    gone = asyncio.create_task(register(client, "k"))
    await eventually(lambda: _true(hasher.asked == 1))
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    hasher.go.set()
    assert (await register(client, "k")).status_code == 202
    assert await world.count("users") == 1


async def test_the_key_of_a_killed_process_is_free_soon(
    client: httpx.AsyncClient, world: World, hasher: SlowHasher
) -> None:
    """A reservation that nobody renews any more is no request that runs: the next one takes it over."""
    first = asyncio.create_task(register(client, "k"))
    await eventually(lambda: _true(hasher.asked == 1))
    # As if its process had died: the row stays as it is, and its lease ends.
    await world.execute("UPDATE idempotency_keys SET leased_until = now() - interval '1 second'")
    second = asyncio.create_task(register(client, "k"))
    await eventually(lambda: _true(hasher.asked == 2))
    hasher.go.set()
    answers = await asyncio.gather(first, second)
    assert [answer.status_code for answer in answers] in ([202, 202], [202, 409], [409, 202])
    assert await world.count("users") == 1
    assert await world.scalar("SELECT status FROM idempotency_keys") == 202


async def _true(value: bool) -> bool:
    return value
