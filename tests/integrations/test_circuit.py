"""The circuit breaker: when it opens and closes, alone and among processes."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from secrets import token_hex

import httpx
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from app.config import RedisSettings
from app.core.redis import make_redis
from app.integrations import circuit_shared
from app.integrations.circuit import FORGOTTEN_AFTER, Circuit, LocalCircuit
from app.integrations.circuit_shared import Circuits
from app.integrations.errors import CircuitOpen
from app.services.container import Container
from tests.integrations.partner import OK, QUICK, Partner, client, outcomes
from tests.support import eventually

RULES = replace(QUICK, attempts=1, failures=3, open_for=0.6)
BROKEN = httpx.Response(500)
Make = Callable[[], Circuit]


@pytest.fixture(params=["local", "shared"])
def circuit(request: pytest.FixtureRequest, container: Container) -> Circuit:
    if request.param == "local":
        return LocalCircuit(RULES)
    return Circuits(container.redis).of(token_hex(4), RULES)


async def record(circuit: Circuit, *outcomes: bool) -> None:
    for ok in outcomes:
        await circuit.record(await circuit.admit(), ok=ok)


async def refused(circuit: Circuit) -> bool:
    try:
        await circuit.admit()
    except CircuitOpen as error:
        return error.asked_wait is not None and error.asked_wait > 0
    return False


async def test_it_opens_at_the_number_and_the_share_of_failures(circuit: Circuit) -> None:
    """Two failures of two leave it closed, so do three of eight; four of eight open it."""
    await record(circuit, False, False, True, True, True, True, False)
    assert not await refused(circuit)
    await record(circuit, False)
    assert await refused(circuit)


async def test_one_call_alone_tries_an_open_circuit(circuit: Circuit) -> None:
    """When its time is over one caller gets through and the others wait for its word, which closes the circuit."""
    await record(circuit, False, False, False)
    await asyncio.sleep(RULES.open_for + 0.05)
    probe = await circuit.admit()
    assert probe.probe
    assert await refused(circuit)
    assert not await circuit.record(probe, ok=True)
    await record(circuit, True, False, True)
    assert not await refused(circuit)


async def test_a_probe_that_fails_keeps_it_open(circuit: Circuit) -> None:
    """One failed try is enough for another `open_for` seconds."""
    await record(circuit, False, False, False)
    await asyncio.sleep(RULES.open_for + 0.05)
    assert await circuit.record(await circuit.admit(), ok=False)
    assert await refused(circuit)


async def test_answers_to_calls_from_before_it_opened_change_nothing(circuit: Circuit) -> None:
    """A late success neither closes the circuit nor does a late failure prolong it."""
    early, late = await circuit.admit(), await circuit.admit()
    await record(circuit, False, False, False)
    assert await circuit.record(early, ok=True)
    await asyncio.sleep(RULES.open_for + 0.05)
    await circuit.record(late, ok=False)
    assert (await circuit.admit()).probe


async def test_a_probe_that_never_answers_is_replaced(container: Container) -> None:
    """A process that dies while it tries does not keep the circuit open for good."""
    rules = replace(RULES, total=0.6)
    for circuit in (LocalCircuit(rules), Circuits(container.redis).of(token_hex(4), rules)):
        await record(circuit, False, False, False)
        await asyncio.sleep(rules.open_for + 0.05)
        assert (await circuit.admit()).probe
        assert await refused(circuit)
        await asyncio.sleep(rules.total + 0.05)
        assert (await circuit.admit()).probe


async def test_old_failures_are_forgotten() -> None:
    """Failures count for one window and the next, by the clock."""
    now = [100.0]
    circuit = LocalCircuit(replace(RULES, window=10), clock=lambda: now[0])
    await record(circuit, False, False)
    now[0] += 20
    await record(circuit, False)
    assert not await refused(circuit)
    now[0] += 10
    await record(circuit, False, False)
    assert await refused(circuit)


async def test_processes_share_it(container: Container) -> None:
    """What one process has found out holds for another: its first call is refused, and its probe frees both."""
    name = f"shared{token_hex(4)}"
    one, two = Circuits(container.redis).of(name, RULES), Circuits(container.redis).of(name, RULES)
    await record(one, False, False, False)
    assert await refused(two)
    await asyncio.sleep(RULES.open_for + 0.05)
    await record(two, True)
    await record(one, True)


@pytest.fixture
async def silent() -> AsyncIterator[Redis]:
    """A Redis that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        redis = make_redis(RedisSettings.model_validate({"url": url, "timeout": 0.2}))
        yield redis
        await redis.aclose(close_connection_pool=True)


async def test_without_redis_each_process_has_its_own(silent: Redis) -> None:
    """Redis silent: calls work, the circuit opens and closes, and only the first call waits for Redis."""
    partner = Partner(BROKEN, BROKEN, BROKEN, OK)
    vendor = client(partner, policy=RULES, circuits=Circuits(silent))
    started = time.monotonic()
    assert list(await outcomes(vendor.read, 4)) == ["Unavailable"] * 3 + ["CircuitOpen"]
    assert time.monotonic() - started < 2
    await asyncio.sleep(RULES.open_for + 0.05)
    assert list(await outcomes(vendor.read, 2)) == ["ok", "ok"]


async def test_a_client_stops_calling_and_starts_again() -> None:
    """Open, nothing is sent; once the partner is well one call finds out; the gauge says which it is."""
    partner = Partner(BROKEN)
    vendor = client(partner, policy=RULES)

    def gauge() -> float | None:
        return REGISTRY.get_sample_value("frontdesk_partner_circuit_open", {"vendor": "vendor"})

    assert set(await outcomes(vendor.read, 10)) == {"Unavailable", "CircuitOpen"}
    assert (len(partner.requests), gauge()) == (3, 1)
    partner.answers = [OK]

    async def well() -> bool:
        return next(await outcomes(vendor.read, 1)) == "ok"

    await eventually(well)
    assert (len(partner.requests), gauge()) == (4, 0)


@asynccontextmanager
async def watching(circuits: Circuits, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(circuit_shared, "LOOK_EVERY", 0.02)
    task = asyncio.create_task(circuits.watch())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def shows(state: float) -> None:
    async def shown() -> bool:
        return REGISTRY.get_sample_value("frontdesk_partner_circuit_open", {"vendor": "vendor"}) == state

    await eventually(shown)


async def test_another_process_s_success_is_shown(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has found it open and calls no more shows it closed when another has, and open when another has opened it."""
    host = f"{token_hex(4)}.example"
    here, there = Circuits(container.redis), Circuits(container.redis)
    vendor = client(Partner(BROKEN), policy=RULES, circuits=here, host=host)
    elsewhere = there.of(f"vendor@{host}", RULES)
    assert set(await outcomes(vendor.read, 4)) == {"Unavailable", "CircuitOpen"}
    async with watching(here, monkeypatch):
        await shows(1)
        await asyncio.sleep(RULES.open_for + 0.05)
        await record(elsewhere, True, True)
        await shows(0)
        await record(elsewhere, False, False, False)
        await shows(1)


@pytest.mark.parametrize("shared", [True, False])
async def test_a_partner_that_nobody_calls_is_not_open_for_ever(
    container: Container, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    """Open while calls fail; some time after the last of them nothing is known of the partner, and nothing is shown."""
    circuits = Circuits(container.redis if shared else None)
    circuit = circuits.of(f"vendor@{token_hex(4)}.example", replace(RULES, open_for=0.05))
    async with watching(circuits, monkeypatch):
        await record(circuit, False, False, False)
        await shows(1)
        await shows(0)


async def test_a_circuit_stays_open_beyond_its_time() -> None:
    """That a call may try now says nothing of the partner: it is open until one succeeds, or all is forgotten."""
    now = [100.0]
    circuit = LocalCircuit(RULES, clock=lambda: now[0])
    await record(circuit, False, False, False)
    now[0] += RULES.open_for * (FORGOTTEN_AFTER - 1)
    assert await circuit.is_open()
    now[0] += RULES.open_for * 2
    assert not await circuit.is_open()


async def test_without_redis_it_shows_what_this_process_knows(silent: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis silent: the watch goes on, by the circuit that is kept here."""
    circuits = Circuits(silent)
    vendor = client(Partner(BROKEN, BROKEN, BROKEN, OK), policy=RULES, circuits=circuits)
    assert list(await outcomes(vendor.read, 3)) == ["Unavailable"] * 3
    async with watching(circuits, monkeypatch):
        await shows(1)
        await asyncio.sleep(RULES.open_for + 0.05)
        assert list(await outcomes(vendor.read, 1)) == ["ok"]
        await shows(0)


async def test_refusals_and_our_own_limits_do_not_open_it() -> None:
    """A partner that answers 4xx or 429 is well."""
    partner = Partner(httpx.Response(404), httpx.Response(429))
    vendor = client(partner, policy=RULES)
    assert set(await outcomes(vendor.read, 10)) == {"Rejected", "RateLimited"}
