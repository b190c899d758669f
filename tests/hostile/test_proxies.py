"""Whose address counts: the connection's, or what a trusted proxy says of it, and never what a client makes up."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count, takewhile
from pathlib import Path
from urllib.parse import quote

import pytest

from app.config import Settings
from tests.hostile.process import ApiProcess
from tests.support import API, PASSWORD, World, eventually

SPOOFED = "203.0.113.66"
FORM = b"grant_type=password&username=nobody@example.com&password=wrong-password"


@pytest.fixture(scope="module")
async def proxied(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiProcess]:
    """A service whose proxy stands at 127.0.0.1."""
    directory: Path = tmp_path_factory.mktemp("proxied")
    # Hashes of 30 ms or so, and little room for them: a flood is made of a handful.
    hashing = {"HASHING_ROUNDS": "9", "HASHING_THREADS": "1", "HASHING_MAX_WAITING": "8"}
    process = ApiProcess(directory, {"API_TRUSTED_PROXIES": "127.0.0.1", "LOG_FORMAT": "json", **hashing})
    await process.start()
    yield process
    process.stop()


async def seen(api: ApiProcess, world: World, forwarded: str) -> str:
    """The address that a failed sign-in was recorded under."""
    headers = {
        "X-Forwarded-For": forwarded,
        "X-Real-IP": forwarded,
        "Forwarded": f"for={forwarded}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": str(len(FORM)),
    }
    assert (await api.ask("POST", "/api/v1/auth/token", headers, FORM)).status == 400
    return str(await world.scalar("SELECT address FROM audit_events ORDER BY id DESC LIMIT 1"))


@pytest.mark.parametrize("forwarded", [SPOOFED, f"{SPOOFED}, 127.0.0.1", "2001:db8::1", "nonsense", ""])
async def test_without_a_proxy_the_header_changes_nothing(api: ApiProcess, world: World, forwarded: str) -> None:
    """Nobody is trusted unless named: whatever a client says of itself, its connection's address counts."""
    assert await seen(api, world, forwarded) == "127.0.0.1"


async def test_a_trusted_proxy_is_believed_for_its_own_hop_alone(proxied: ApiProcess, world: World) -> None:
    """The last address is the proxy's word; those before it are the client's, and worth nothing."""
    assert await seen(proxied, world, "198.51.100.1") == "198.51.100.1"
    assert await seen(proxied, world, f"{SPOOFED}, 198.51.100.1") == "198.51.100.1"


async def test_a_flood_from_one_address_denies_nobody_a_sign_in(proxied: ApiProcess, world: World) -> None:
    """While an address registers more than can be hashed, and is refused most of it, all sign-ins from another succeed,
    although both come by one proxy."""
    person = await world.person(password=PASSWORD)
    statuses: list[int] = []
    ended = asyncio.Event()

    async def flood(number: int) -> None:
        for turn in takewhile(lambda _: not ended.is_set(), count()):
            body = {"email": f"flood{number}-{turn}@example.com", "password": PASSWORD, "full_name": "Flood"}
            answer = await proxied.ask("POST", f"{API}/auth/register", {"X-Forwarded-For": "203.0.113.7"}, body)
            statuses.append(answer.status)

    form = f"grant_type=password&username={person.email}&password={quote(PASSWORD)}".encode()
    headers = {
        "X-Forwarded-For": "198.51.100.8",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": str(len(form)),
    }
    floods = [asyncio.create_task(flood(number)) for number in range(16)]

    async def full() -> bool:
        return 503 in statuses

    try:
        await eventually(full)
        for _ in range(5):
            assert (await proxied.ask("POST", f"{API}/auth/token", headers, form)).status == 200
        assert statuses.count(503) > 5
    finally:
        ended.set()
        await asyncio.gather(*floods)


async def test_spoofing_does_not_lift_the_limit(api: ApiProcess, world: World) -> None:
    """Ten failures under ten made-up addresses are ten failures of one: the eleventh is 429."""
    await world.container.redis.flushdb()
    for number in range(10):
        await seen(api, world, f"203.0.113.{number}")
    headers = {
        "X-Forwarded-For": "203.0.113.99",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": str(len(FORM)),
    }
    assert (await api.ask("POST", "/api/v1/auth/token", headers, FORM)).status == 429
