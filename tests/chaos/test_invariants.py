"""The count of `make chaos` sees what it is there to see, on a real ledger."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.core.jobs import JobMessage
from app.tasks.attempt import Runner
from tests.chaos.bodies import TABLES, chaos_bodies
from tests.chaos.invariants import unfinished, violations
from tests.chaos.load import Producer
from tests.chaos.real import real_jobs
from tests.chaos.scene import Scene
from tests.chaos.stage import Stage
from tests.support import World


class Small:
    """A producer, and a worker in this process that knows the countable jobs."""

    def __init__(self, world: World, producer: Producer) -> None:
        self.world, self.producer = world, producer
        container = world.container
        self.runner = Runner(container.database, chaos_bodies(container), container.settings.jobs)

    async def done(self, *, jobs: int = 1) -> list[int]:
        """So many jobs, accepted and run."""
        ids = await self.producer.send(*(self.producer.count(seconds=0) for _ in range(jobs)))
        for job_id in ids:
            await self.runner.run(job_id)
        return ids

    async def found(self) -> list[str]:
        mails = self.world.container.settings.mail.directory
        return await violations(self.world.database, self.producer.accepted, mails=mails)


@pytest.fixture
async def small(world: World) -> AsyncIterator[Small]:
    async with world.database.engine.begin() as connection:
        for statement in TABLES.split(";")[:-1]:
            await connection.execute(text(statement))
    rng = random.Random(1)
    yield Small(world, Producer(world.database, rng, await real_jobs(world.container, rng)))
    await world.execute("DROP TABLE chaos_starts, chaos_effects")


async def test_work_that_was_done_once_is_no_violation(small: Small) -> None:
    """Jobs accepted and run, a mail sent, a doubtful number that never was: nothing to say."""
    await small.done(jobs=3)
    await small.producer.send(await _mail(small))
    assert await small.world.run_jobs() == 1
    small.producer.accepted.doubtful.add(small.producer.number())
    assert await unfinished(small.world.database) == 0
    assert await small.found() == []


async def _mail(small: Small) -> JobMessage:
    make = await real_jobs(small.world.container, random.Random(1))
    return next(message for message in iter(make, None) if message.name == "mail.appointment")


async def test_a_lost_job_is_seen(small: Small) -> None:
    """An accepted job that is gone from the ledger is a loss, even if its effect is there."""
    kept, lost = await small.done(jobs=2)
    await small.world.execute("DELETE FROM jobs WHERE id = :id", id=lost)
    assert await small.found() == [f"lost: accepted, but not in the ledger: {lost}"]
    assert kept != lost


async def test_a_stuck_job_is_seen(small: Small) -> None:
    """A job that waits for ever is no success, and is counted by whoever waits for the end."""
    (stuck,) = await small.producer.send(small.producer.count())
    assert await unfinished(small.world.database) == 1
    assert await small.found() == [f"stuck: neither succeeded nor failed: {stuck}"]


async def test_a_doubled_effect_is_seen(small: Small) -> None:
    """Two rows of one job are one too many."""
    (job_id,) = await small.done()
    await small.world.execute("INSERT INTO chaos_effects (job_id, lease) SELECT job_id, lease FROM chaos_effects")
    assert await small.found() == [f"effect twice: {job_id}"]


async def test_a_missing_effect_is_seen(small: Small) -> None:
    """A success without its row did not happen."""
    (job_id,) = await small.done()
    await small.world.execute("DELETE FROM chaos_effects")
    assert await small.found() == [f"succeeded without its effect: {job_id}"]


async def test_an_effect_of_a_job_that_failed_is_seen(small: Small) -> None:
    """A row of a job that is dead is an effect that nobody may rely on."""
    (job_id,) = await small.done()
    small.producer.accepted.doomed.add(job_id)
    await small.world.execute("UPDATE jobs SET status = 'failed'")
    assert await small.found() == [f"effect without success: {job_id}"]


async def test_a_stale_completion_is_seen(small: Small) -> None:
    """The effect has to be that of the last attempt which was started."""
    (job_id,) = await small.done()
    statement = "INSERT INTO chaos_starts (job_id, lease, attempt) VALUES (:job, :lease, 2)"
    await small.world.execute(statement, job=job_id, lease=uuid4())
    assert await small.found() == [f"effect of an attempt that a later one had followed: {job_id}"]


async def test_a_loop_of_attempts_is_seen(small: Small) -> None:
    """More starts than attempts are allowed, whatever the ledger's own count says."""
    (job_id,) = await small.done()
    statement = "INSERT INTO chaos_starts SELECT job_id, lease, attempt FROM chaos_starts, generate_series(1, 8)"
    await small.world.execute(statement)
    assert await small.found() == [f"more attempts than allowed: {job_id}"]


async def test_what_nobody_asked_for_is_seen(small: Small) -> None:
    """A job with a number that was never sent, a number in two jobs, and a death without a cause."""
    (job_id,) = await small.producer.send(small.producer.count())
    await small.world.execute("UPDATE jobs SET status = 'failed'")
    small.producer.accepted.numbers.clear()
    columns = "name, queue, payload, max_attempts, status"
    await small.world.execute(f"INSERT INTO jobs ({columns}) SELECT {columns} FROM jobs")
    assert await small.found() == [
        f"failed, though nothing was wrong with it: {job_id}, {job_id + 1}",
        "nobody sent the number: 1",
        "one number in two jobs: 1",
    ]


async def test_a_mail_that_is_missing_or_of_no_job_is_seen(small: Small) -> None:
    """One file for each mail that was sent, no more, no less."""
    (job_id,) = await small.producer.send(await _mail(small))
    await small.world.run_jobs()
    (file,) = small.world.container.settings.mail.directory.glob("*.eml")
    file.rename(file.with_stem("another"))
    assert await small.found() == [f"mail sent, but not there: {job_id}", "mail of no job: another"]


async def test_a_recovery_is_timed_by_what_was_waiting(small: Small, tmp_path: Path) -> None:
    """The slowest of the jobs that the fault met counts; one that was done before or accepted later does not."""
    ids = await small.done(jobs=3)
    at = datetime.now(UTC)
    for job_id, created, finished in zip(ids, (-9, -2, 1), (-1, 4, 30), strict=True):
        await small.world.execute(
            "UPDATE jobs SET created_at = :created, finished_at = :finished WHERE id = :id",
            id=job_id,
            created=at + timedelta(seconds=created),
            finished=at + timedelta(seconds=finished),
        )
    waited = await small.world.scalar(
        "SELECT round(extract(epoch FROM started_at - created_at), 1) FROM jobs WHERE id = :id", id=ids[1]
    )
    scene = Scene(Stage(tmp_path), small.world.database, small.producer, random.Random(1), share=0, lone=[at])
    assert await scene.recoveries() == [
        (4.0, f"chaos.count {ids[1]}, attempts 1, messages 0, waited {waited} s before it started")
    ]
