"""Password hashing: bounded, off the event loop, at low priority, and equal for users that do not exist."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.config import HashingSettings
from app.core.errors import Unavailable
from app.core.hashing import PasswordHasher
from tests.support import PASSWORD, eventually

Make = Callable[..., PasswordHasher]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[PasswordHasher] = []

    def one(**settings: Any) -> PasswordHasher:
        made.append(PasswordHasher(HashingSettings(**{"rounds": 4, "threads": 1, **settings})))
        return made[-1]

    yield one
    for hasher in made:
        hasher.close()


class Gate:
    """Work that stays in its thread until it is let go."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def work(self) -> int:
        self.entered.set()
        assert self.open.wait(10)
        return threading.get_native_id()


async def occupied(hasher: PasswordHasher) -> tuple[Gate, asyncio.Task[int]]:
    """A hasher's only thread, busy until the gate opens."""
    gate = Gate()
    task = asyncio.create_task(hasher._run(gate.work))
    await asyncio.to_thread(gate.entered.wait, 10)
    return gate, task


async def test_a_password_fits_its_own_hash_alone(make: Make) -> None:
    """Right is right, wrong is wrong, and two hashes of one password differ."""
    hasher = make()
    first, second = await hasher.hash("correct horse"), await hasher.hash("correct horse")
    assert first != second
    assert await hasher.verify("correct horse", first)
    assert not await hasher.verify("correct horsf", first)


@pytest.mark.parametrize("password", ["x" * 256, "é" * 256, "💶" * 256, "a\0b", "\ud800 lone"])
async def test_a_password_is_never_truncated(make: Make, password: str) -> None:
    """Its last character counts, beyond 72 bytes and after a NUL byte, and any text can be asked about."""
    hasher = make()
    hashed = await hasher.hash(password)
    assert await hasher.verify(password, hashed)
    assert not await hasher.verify(password[:-1] + "?", hashed)


@pytest.mark.parametrize("password", ["x" * 4097, "🔑" * 1025, "\U0001d160" * 4096])
async def test_what_is_longer_than_any_password_is_wrong(make: Make, password: str) -> None:
    """More bytes than libpass reads fit no hash, of nobody's either, and are no error."""
    hasher = make()
    for hashed in (await hasher.hash(PASSWORD), None):
        assert not await hasher.verify(password, hashed)
    longest = "\U0001d160" * 256
    assert await hasher.verify(longest, await hasher.hash(longest))


async def test_one_password_typed_in_two_ways_is_the_same(make: Make) -> None:
    """Composed and decomposed characters compare alike (NFC)."""
    hasher = make()
    assert await hasher.verify("cafe\u0301", await hasher.hash("caf\u00e9"))


async def test_an_unknown_user_costs_what_a_wrong_password_costs(make: Make) -> None:
    """Nothing fits, not even an empty password, and the same number of rounds is computed from the first call on."""
    hasher = make(rounds=10)
    hashed = await hasher.hash("right")

    def timed(stored: str | None) -> float:
        started = time.thread_time()
        assert not hasher._verify("wrong", stored)
        return time.thread_time() - started

    async def cost(stored: str | None) -> float:
        """Seconds of computing, whoever else is computing."""
        return min([await hasher._run(lambda: timed(stored)) for _ in range(3)])

    unknown, wrong = await cost(None), await cost(hashed)
    assert 0.5 < unknown / wrong < 2
    assert not await hasher.verify("", None)
    assert not await hasher.verify("decoy", None)


async def test_the_event_loop_goes_on_meanwhile(make: Make) -> None:
    """While a thread hashes, the loop turns."""
    hasher = make()
    gate, task = await occupied(hasher)
    turns = 0
    for _ in range(100):
        await asyncio.sleep(0)
        turns += 1
    assert not task.done()
    gate.open.set()
    assert await task
    assert turns == 100


async def test_no_more_hashes_run_than_there_are_threads(make: Make) -> None:
    """Of five at once on two threads, two run and three wait."""
    hasher = make(threads=2)
    gates = [Gate() for _ in range(5)]
    tasks = [asyncio.create_task(hasher._run(gate.work)) for gate in gates]

    async def two_run() -> bool:
        return sum(gate.entered.is_set() for gate in gates) == 2 and hasher.waiting == 3

    await eventually(two_run, seconds=5)
    for gate in gates:
        gate.open.set()
    assert len(set(await asyncio.gather(*tasks))) <= 2
    assert hasher.waiting == 0


async def test_past_the_limit_nobody_queues(make: Make) -> None:
    """With one waiting and no more allowed to, the next is Unavailable at once, and those before are served."""
    hasher = make(max_waiting=1)
    gate, running = await occupied(hasher)
    waiting = asyncio.create_task(hasher.hash("x"))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await hasher.hash("y")
    gate.open.set()
    await running
    assert await waiting


async def test_a_wait_that_is_too_long_ends(make: Make) -> None:
    """After `wait` seconds in the queue a call is Unavailable, its work is never done, and the queue is empty."""
    hasher = make(wait=0.05)
    gate, running = await occupied(hasher)
    done = threading.Event()
    with pytest.raises(Unavailable):
        await hasher._run(done.set)
    assert hasher.waiting == 0
    gate.open.set()
    await running
    assert await hasher.hash("x")
    assert not done.is_set()


async def test_a_caller_who_leaves_does_not_free_the_thread(make: Make) -> None:
    """A cancelled call keeps its thread until the work is done; only then does the next one start."""
    hasher = make()
    gate, running = await occupied(hasher)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    next_gate = Gate()
    queued = asyncio.create_task(hasher._run(next_gate.work))
    for _ in range(10):
        await asyncio.sleep(0)
    assert hasher.waiting == 1
    assert not next_gate.entered.is_set()
    next_gate.open.set()
    gate.open.set()
    assert await queued


async def test_a_caller_who_leaves_the_queue_leaves_no_trace(make: Make) -> None:
    """A cancelled wait gives its place back."""
    hasher = make(max_waiting=1)
    gate, running = await occupied(hasher)
    waiting = asyncio.create_task(hasher.hash("x"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert hasher.waiting == 0
    gate.open.set()
    await running
    assert await hasher.hash("y")


async def test_an_error_frees_the_thread(make: Make) -> None:
    """Work that raises raises at its caller, and the next call is served."""
    hasher = make()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await hasher._run(lambda: 1 // 0)
    assert await hasher.hash("x")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has a priority per thread")
async def test_the_threads_have_low_priority_and_the_loop_has_not(make: Make) -> None:
    """The kernel says so of the hashing thread, and that the process keeps its own."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    hasher = make(niceness=7)

    def own() -> tuple[int, int]:
        return threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    thread, nice = await hasher._run(own)
    assert thread != threading.get_native_id()
    assert nice == min(19, before + 7)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
