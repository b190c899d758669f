"""How many jobs of one name run at once, and which goes first."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, ClassVar, cast

import pytest
from sqlalchemy import event

from app.config import JobSettings
from app.core.jobs import JobDelayed, JobMessage, JobStatus, Priority, Queue, enqueue_many
from app.services.container import Container
from app.tasks.attempt import Attempt, Runner
from app.tasks.broker import ARQ_QUEUE, CELERY_QUEUE, ON_REDIS
from app.tasks.relay import Relay
from tests.support import World, eventually


class Pair(JobMessage):
    name: ClassVar[str] = "test.pair"
    max_running: ClassVar[int | None] = 2


class Note(JobMessage):
    name: ClassVar[str] = "test.note"


class Urgent(Note):
    name: ClassVar[str] = "test.urgent"
    priority: ClassVar[Priority] = Priority.HIGH


class Idle(Note):
    name: ClassVar[str] = "test.idle"
    priority: ClassVar[Priority] = Priority.LOW


async def send(world: World, *messages: JobMessage) -> list[int]:
    async with world.database.session_scope() as session:
        return await enqueue_many(session, messages)


async def test_no_more_run_at_once_than_may(world: World) -> None:
    """Of ten jobs that are attempted at the same time two run; the others stand back, and no attempt of them counts."""
    running: list[int] = []
    most = 0
    go = asyncio.Event()

    async def body(_: Pair, attempt: Attempt) -> None:
        nonlocal most
        running.append(attempt.job_id)
        most = max(most, len(running))
        await go.wait()
        running.remove(attempt.job_id)

    runner = Runner(world.database, {Pair: body}, JobSettings())
    ids = await send(world, *(Pair() for _ in range(10)))
    tasks = [asyncio.create_task(runner.run(job_id)) for job_id in ids]

    async def stood_back() -> bool:
        return sum(task.done() for task in tasks) == 8

    await eventually(stood_back)
    pending = [task for task in tasks if not task.done()]
    waiting = "SELECT count(*) FROM jobs WHERE status = 'queued' AND attempt = 0 AND published_at IS NULL"
    assert await world.scalar(waiting) == 8
    go.set()
    assert [await task for task in pending] == [JobStatus.SUCCEEDED] * 2
    assert most == 2
    await world.execute("UPDATE jobs SET run_at = now()")
    (left, *_) = await world.rows("SELECT id FROM jobs WHERE status = 'queued'")
    assert await runner.run(left.id) is JobStatus.SUCCEEDED


async def test_crowds_wait_in_the_ledger(world: World, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay gives out as many as may run, counting those that run or are in a queue; others are not held up."""
    monkeypatch.setattr(relay, "_caps", {Pair.name: 2})
    crowd = await send(world, *(Pair() for _ in range(5)))
    others = await send(world, Note(), Note())
    published = "SELECT id FROM jobs WHERE published_at IS NOT NULL OR status = 'running' ORDER BY id"
    for _ in range(2):
        await relay.publish()
        assert [row.id for row in await world.rows(published)] == [*crowd[:2], *others]
    await world.execute("UPDATE jobs SET status = 'succeeded' WHERE id = :id", id=crowd[0])
    await relay.publish()
    assert [row.id for row in await world.rows(published)] == [*crowd[:3], *others]


async def test_what_was_taken_is_handed_over_whatever_comes_after(
    world: World, container: Container, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes away before the relay has looked for crowds: what it had taken by then is in its queue."""
    monkeypatch.setattr(relay, "_caps", {Pair.name: 2})
    _, note = await send(world, Pair(), Note())

    def gone(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "unnest" in statement:
            raise ConnectionResetError

    engine = container.database.read._engine
    event.listen(engine, "before_cursor_execute", gone)
    try:
        with pytest.raises(ConnectionResetError):
            await relay.publish()
    finally:
        event.remove(engine, "before_cursor_execute", gone)
    assert await world.scalar("SELECT id FROM jobs WHERE published_at IS NOT NULL") == note
    assert [int(name.split(b"-")[0]) for name in await container.redis.zrange(ARQ_QUEUE, 0, -1)] == [note]


async def test_what_is_urgent_overtakes_what_waits(world: World, container: Container, relay: Relay) -> None:
    """A job of high priority stands before those accepted earlier, in ARQ's queue too; one of low priority behind."""
    idle, *notes = await send(world, Idle(), Note(), Note())
    await relay.publish()
    (urgent,) = await send(world, Urgent())
    await relay.publish()
    order = [int(name.split(b"-")[0]) for name in await container.redis.zrange(ARQ_QUEUE, 0, -1)]
    assert (order[0], set(order[1:3]), order[3]) == (urgent, set(notes), idle)


class Chart(JobMessage):
    name: ClassVar[str] = "test.chart"
    queue: ClassVar[Queue] = Queue.CPU


class UrgentChart(Chart):
    name: ClassVar[str] = "test.urgent_chart"
    priority: ClassVar[Priority] = Priority.HIGH


async def test_celery_looks_for_what_is_urgent_first(world: World, container: Container, relay: Relay) -> None:
    """In Redis each priority has a list, and the one that Celery reads first holds the urgent job."""
    normal, urgent = await send(world, Chart(), UrgentChart())
    await relay.publish()

    async def listed(priority: Priority) -> list[Any]:
        step = ON_REDIS[priority]
        key = f"{CELERY_QUEUE}\x06\x16{step}" if step else CELERY_QUEUE
        raw = await cast("Awaitable[list[bytes]]", container.redis.lrange(key, 0, -1))
        return [int(json.loads(one)["headers"]["argsrepr"].strip("[],()")) for one in raw]

    assert await listed(Priority.HIGH) == [urgent]
    assert await listed(Priority.NORMAL) == [normal]
    assert ON_REDIS[Priority.HIGH] < ON_REDIS[Priority.NORMAL] < ON_REDIS[Priority.LOW]


async def test_the_batch_starts_with_what_is_urgent(
    world: World, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay takes from the ledger by priority first, then by age."""
    monkeypatch.setattr("app.tasks.relay.BATCH", 1)
    sent: list[int] = []

    async def take(rows: Any) -> list[int]:
        sent.extend(row.id for row in rows)
        return []

    monkeypatch.setattr(relay, "_send", take)
    idle, first, second, urgent = await send(world, Idle(), Note(), Note(), Urgent())
    await relay.publish()
    assert sent == [urgent, first, second, idle]


async def test_the_other_side_may_say_when_to_come_back(world: World) -> None:
    """JobDelayed counts as a failed attempt, and sets the time of the next one itself."""

    async def body(_: Note, __: Attempt) -> None:
        raise JobDelayed("429, Retry-After: 7200", seconds=7200)

    (job_id,) = await send(world, Note())
    assert await Runner(world.database, {Note: body}, JobSettings()).run(job_id) is JobStatus.QUEUED
    row = (await world.rows("SELECT attempt, error, extract(epoch FROM run_at - now()) AS wait FROM jobs"))[0]
    assert (row.attempt, row.error) == (1, "JobDelayed: 429, Retry-After: 7200")
    assert 7100 < row.wait <= 7200
