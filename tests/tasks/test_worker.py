"""ARQ's engine as we run it: what is in Redis can't stop it, and it stops when it is asked to."""

import asyncio
import json
import pickle
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from arq import ArqRedis

from app.core.jobs import JobMessage, enqueue_many
from app.services.container import Container
from app.tasks.attempt import Attempt, Runner
from app.tasks.broker import ARQ_QUEUE
from app.tasks.relay import Relay
from app.tasks.worker import LedgerWorker, _make_worker
from tests.support import World, eventually


class Note(JobMessage):
    name: ClassVar[str] = "test.note"


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def make(world: World, arq: ArqRedis, body: Callable[[Note, Attempt], Awaitable[Any]]) -> LedgerWorker:
    container = world.container
    jobs = container.settings.jobs.model_copy(update={"concurrency": 3})
    settings = container.settings.model_copy(update={"jobs": jobs})
    return _make_worker(settings, arq, Runner(container.database, {Note: body}, jobs))


async def send(world: World, relay: Relay, number: int = 1) -> list[int]:
    async with world.database.session_scope() as session:
        ids = await enqueue_many(session, [Note() for _ in range(number)])
    await relay.publish()
    return ids


async def quick(_: Note, __: Attempt) -> None:
    return


async def counted(world: World) -> dict[str, int]:
    return {
        row.status: row.number for row in await world.rows("SELECT status, count(*) AS number FROM jobs GROUP BY 1")
    }


async def ended(worker: LedgerWorker, running: asyncio.Task[None]) -> None:
    worker.stop()
    async with asyncio.timeout(5):
        await running
    await worker.drain(5)


HOSTILE = {
    "a list for a name": {"t": None, "f": ["run_job"], "a": [1], "k": {}, "et": 1},
    "another function": {"t": None, "f": "os.system", "a": ["true"], "k": {}, "et": 1},
    "no arguments": {"t": None, "f": "run_job", "a": None, "k": None, "et": 1},
    "words for numbers": {"t": "x", "f": "run_job", "a": ["x"], "k": {"job_id": []}, "et": "y"},
    "nothing": {},
}


@pytest.mark.parametrize("kind", ["pickle", "noise", *HOSTILE])
async def test_whatever_lies_in_the_queue_the_worker_goes_on(
    world: World, arq: ArqRedis, relay: Relay, tmp_path: Path, kind: str
) -> None:
    """A pickle put by hand into the queue is never executed, and neither it nor any other message ends the worker."""
    trap = tmp_path / "executed"
    raw = {"pickle": pickle.dumps({"f": Bomb(trap), "a": (), "k": {}, "t": None, "et": 1}), "noise": b"\xff\x00{"}
    value = raw[kind] if kind in raw else json.dumps(HOSTILE[kind]).encode()
    await arq.set("arq:job:evil", value)
    await arq.zadd(ARQ_QUEUE, {"evil": int(time.time() * 1000) - 1000})
    worker = make(world, arq, quick)
    running = asyncio.create_task(worker.main())

    ids = await send(world, relay, 10)

    async def done() -> bool:
        return await counted(world) == {"succeeded": len(ids)}

    await eventually(done)
    assert not running.done()
    await ended(worker, running)
    assert not trap.exists()
    assert worker.job_counter == 0
    pickle.loads(raw["pickle"])  # noqa: S301 - it does go off when it is asked to
    assert trap.exists()


async def test_messages_of_a_killed_worker_do_not_hide_others(
    world: World, container: Container, arq: ArqRedis, relay: Relay
) -> None:
    """A message leaves the queue when its job starts, so that those of killed workers can't fill what a poll reads."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def body(_: Note, __: Attempt) -> None:
        begun.set()
        await release.wait()

    worker = make(world, arq, body)
    running = asyncio.create_task(worker.main())
    await send(world, relay)
    await begun.wait()
    assert await container.redis.zcard(ARQ_QUEUE) == 0
    release.set()
    await ended(worker, running)


async def test_a_message_whose_worker_died_before_the_claim_is_taken_when_it_comes_again(
    world: World, arq: ArqRedis, relay: Relay
) -> None:
    """ARQ has counted a try for it, and it is not dropped as one too many: the ledger alone counts attempts."""
    worker = make(world, arq, quick)
    async with world.database.session_scope() as session:
        (job_id,) = await enqueue_many(session, [Note()])
    await arq.set(f"arq:retry:{job_id}-0", b"1")
    await relay.publish()
    running = asyncio.create_task(worker.main())

    async def done() -> bool:
        return bool(await world.scalar("SELECT status = 'succeeded' FROM jobs WHERE id = :id", id=job_id))

    await eventually(done)
    await ended(worker, running)


async def test_messages_that_killed_workers_had_begun_do_not_hide_others(
    world: World, arq: ArqRedis, relay: Relay
) -> None:
    """As many messages as a poll reads, all marked as begun by workers that are gone, do not hold up the next job."""
    worker = make(world, arq, quick)
    for number in range(worker.queue_read_limit):
        await arq.zadd(ARQ_QUEUE, {f"gone-{number}": 1})
        await arq.set(f"arq:in-progress:gone-{number}", b"1")
    (job_id,) = await send(world, relay)
    running = asyncio.create_task(worker.main())

    async def done() -> bool:
        return bool(await world.scalar("SELECT status = 'succeeded' FROM jobs WHERE id = :id", id=job_id))

    await eventually(done)
    await ended(worker, running)


async def test_a_stopped_worker_finishes_what_runs_and_takes_no_more(world: World, arq: ArqRedis, relay: Relay) -> None:
    """With thirty jobs queued and three slots, a stop lets the three end and leaves the others uncounted."""
    release = asyncio.Event()
    begun = 0

    async def body(_: Note, __: Attempt) -> None:
        nonlocal begun
        begun += 1
        await release.wait()

    worker = make(world, arq, body)
    running = asyncio.create_task(worker.main())
    await send(world, relay, 30)

    async def full() -> bool:
        return begun == 3

    await eventually(full)
    worker.stop()
    await running
    draining = asyncio.create_task(worker.drain(10))
    await asyncio.sleep(0.2)
    assert not draining.done()
    release.set()
    await draining
    assert await counted(world) == {"succeeded": 3, "queued": 27}
    assert (begun, await world.scalar("SELECT sum(attempt) FROM jobs")) == (3, 3)


async def test_jobs_that_outlast_the_grace_are_given_back(world: World, arq: ArqRedis, relay: Relay) -> None:
    """When the grace is over, the jobs still under way are interrupted and go back to the ledger, uncounted."""
    begun = asyncio.Event()

    async def body(_: Note, __: Attempt) -> None:
        begun.set()
        await asyncio.sleep(60)

    worker = make(world, arq, body)
    running = asyncio.create_task(worker.main())
    await send(world, relay)
    await begun.wait()
    worker.stop()
    await running
    await worker.drain(0.1)
    assert [tuple(row) for row in await world.rows("SELECT status, attempt FROM jobs")] == [("queued", 0)]


async def test_a_broken_connection_leaks_no_slot(
    world: World, container: Container, arq: ArqRedis, relay: Relay
) -> None:
    """However often Redis cuts the worker off, all of its slots are free again afterwards and it does every job."""
    worker = make(world, arq, quick)
    running = asyncio.create_task(worker.main())
    ids: list[int] = []
    for _ in range(8):
        ids += await send(world, relay, 5)
        await container.redis.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.05)

    async def done() -> bool:
        await relay.publish()
        await world.execute("UPDATE jobs SET published_at = NULL WHERE published_at < now() - interval '2 s'")
        return (await counted(world)).get("succeeded") == len(ids)

    await eventually(done, seconds=30, every=0.2)
    await ended(worker, running)
    assert (worker.job_counter, worker.sem._value) == (0, worker.max_jobs + 1)
