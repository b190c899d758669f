"""How a body says how far it is."""

import asyncio
import threading
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from app.config import JobSettings
from app.core.jobs import JobMessage, JobStatus, Progress, Retry, enqueue
from app.tasks import progress
from app.tasks.attempt import Attempt, Body, Runner
from app.tasks.progress import LeaseLost, ProgressLine
from tests.support import World, eventually


class Count(JobMessage):
    name: ClassVar[str] = "test.count"
    retry: ClassVar[Retry] = Retry(max_attempts=2)


async def start(world: World, body: Body, *, heartbeat: float = 5) -> tuple[int, "asyncio.Task[JobStatus | None]"]:
    async with world.database.session_scope() as session:
        job_id = await enqueue(session, Count())
    runner = Runner(world.database, {Count: body}, JobSettings(lease=30, heartbeat=heartbeat))
    return job_id, asyncio.create_task(runner.run(job_id))


async def seen(world: World, job_id: int) -> tuple[Any, ...]:
    sql = "SELECT progress_done, progress_total, progress_note FROM jobs WHERE id = :id"
    return tuple((await world.rows(sql, id=job_id))[0])


async def test_ten_thousand_reports_cost_two_writes(world: World) -> None:
    """The first report and the last are in the ledger; those between, within the interval, are not written."""

    async def body(_: Count, attempt: Attempt) -> None:
        for number in range(10_000):
            await attempt.progress(number + 1, 10_000, "counting")

    job_id, task = await start(world, body)
    assert await task is JobStatus.SUCCEEDED
    assert await seen(world, job_id) == (10_000, 10_000, "counting")
    # Claim, completion, and what was reported on the way: the rest of the versions are writes.
    assert await world.scalar("SELECT version FROM jobs") <= 1 + 2 + 1 + 10


async def test_a_report_is_seen_while_the_job_runs(world: World) -> None:
    """The first report at once, a later one with the next report that is due or the next beat of the heart."""
    go, end = asyncio.Event(), asyncio.Event()

    async def body(_: Count, attempt: Attempt) -> None:
        await attempt.progress(1, 3)
        await go.wait()
        await attempt.progress(2, 3, "almost")
        await end.wait()

    job_id, task = await start(world, body, heartbeat=0.1)

    async def reached(*expected: Any) -> bool:
        return await seen(world, job_id) == expected

    await eventually(lambda: reached(1, 3, None))
    go.set()
    await eventually(lambda: reached(2, 3, "almost"))
    end.set()
    assert await task is JobStatus.SUCCEEDED


async def test_a_failed_attempt_keeps_its_last_report(world: World) -> None:
    """What was reported last stands in the ledger although the attempt failed right after."""

    async def body(_: Count, attempt: Attempt) -> None:
        await attempt.progress(1, 9)
        await attempt.progress(7, 9, "seventh")
        raise ValueError("eighth")

    job_id, task = await start(world, body)
    assert await task is JobStatus.QUEUED
    assert await seen(world, job_id) == (7, 9, "seventh")


async def test_a_stale_attempt_learns_it_from_its_report(world: World) -> None:
    """A report under a lease that has passed on is not written, ends the body, and its outcome is dropped."""
    after: list[str] = []

    async def body(_: Count, attempt: Attempt) -> None:
        await world.execute("UPDATE jobs SET lease_token = :token", token=uuid4())
        await attempt.progress(5)
        after.append("went on")

    job_id, task = await start(world, body)
    assert await task is None
    assert (await seen(world, job_id), after) == ((0, None, None), [])


async def test_a_thread_reports_and_is_told_when_to_stop(world: World) -> None:
    """A computation in a thread reports without waiting; once its attempt is over, the next report ends it."""
    ended, given_up = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def compute(attempt: Attempt) -> None:
        number = 0
        try:
            while not given_up.is_set():
                number += 1
                attempt.progress_from_thread(number, note="\0" + "x" * 1000)
        except LeaseLost:
            loop.call_soon_threadsafe(ended.set)
            raise

    async def body(_: Count, attempt: Attempt) -> None:
        await asyncio.to_thread(compute, attempt)

    job_id, task = await start(world, body)

    async def reported() -> bool:
        return bool((await seen(world, job_id))[0])

    await eventually(reported)
    assert (await seen(world, job_id))[2] == "x" * progress.MAX_NOTE
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    try:
        async with asyncio.timeout(10):
            await ended.wait()
    finally:
        # Otherwise a thread that nobody tells would keep the whole run from its end.
        given_up.set()


async def test_a_report_that_cannot_be_written_does_no_harm() -> None:
    """While the ledger is away reports go on; the last one is kept for whoever writes next."""

    async def away(_: Progress) -> bool:
        raise ConnectionError("the database is away")

    line = ProgressLine(away)
    await line.report(Progress(1))
    await line.report(Progress(2))
    assert line.take() == Progress(2)
    assert line.take() is None
