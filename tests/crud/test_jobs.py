"""The ledger's state machine: each step one compare-and-set."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from app.core.context import Cause, bound
from app.core.database import AnyRow
from app.core.jobs import JobMessage, JobStatus, Priority, Progress, Queue, Retry, enqueue, enqueue_many
from app.core.wakeup import use_waker
from app.crud.jobs import Success, jobs
from tests.support import World

LEASE = 30.0


class Note(JobMessage):
    name: ClassVar[str] = "test.note"
    retry: ClassVar[Retry] = Retry(max_attempts=2)
    text: str = ""


class Sum(JobMessage):
    name: ClassVar[str] = "test.sum"
    queue: ClassVar[Queue] = Queue.CPU


async def send(world: World, *messages: JobMessage, run_at: datetime | None = None) -> list[int]:
    async with world.database.session_scope() as session:
        return await enqueue_many(session, messages, run_at=run_at)


async def claim(world: World, job_id: int, *, names: tuple[str, ...] = (Note.name, Sum.name)) -> AnyRow | None:
    async with world.database.session_scope() as session:
        rows = await jobs.claim(session, [job_id], names=names, lease_seconds=LEASE)
        return rows[0] if rows else None


async def claimed(world: World) -> AnyRow:
    """A new job under its first lease."""
    job = await claim(world, (await send(world, Note()))[0])
    assert job is not None
    return job


async def row(world: World, job_id: int) -> Any:
    return (await world.rows("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]


class Full(JobMessage):
    name: ClassVar[str] = "test.full"
    queue: ClassVar[Queue] = Queue.CPU
    priority: ClassVar[Priority] = Priority.HIGH
    retry: ClassVar[Retry] = Retry(max_attempts=7)
    at: datetime
    amount: Decimal
    word: str


@pytest.mark.parametrize("later", [None, timedelta(days=1)])
async def test_one_and_many_are_accepted_alike(world: World, later: timedelta | None) -> None:
    """A job accepted alone is the row that it is in a batch: payload, attempts, time, priority, queue and cause."""
    now = datetime.now(UTC)
    run_at = None if later is None else now + later
    message = Full(at=now, amount=Decimal("1.10"), word="ü\u2028'\"\\")
    with bound(Cause(request_id="r-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01", user_id=7)):
        async with world.database.session_scope() as session:
            one = await enqueue(session, message, run_at=run_at)
            two, three = await enqueue_many(session, [message, message], run_at=run_at)
    assert one < two < three
    first, *others = [row.job for row in await world.rows("SELECT to_jsonb(jobs) - 'id' AS job FROM jobs ORDER BY id")]
    assert others == [first, first]
    assert first["payload"] == message.model_dump(mode="json")
    assert (first["name"], first["queue"], first["priority"], first["max_attempts"]) == ("test.full", "cpu", 1, 7)
    assert (first["request_id"], first["created_by"], first["traceparent"][3]) == ("r-1", 7, "a")
    assert (datetime.fromisoformat(first["run_at"]) == run_at) == (run_at is not None)


async def expire(world: World, job_id: int) -> None:
    await world.execute("UPDATE jobs SET lease_expires_at = now() - interval '1 s' WHERE id = :id", id=job_id)


async def reap(world: World) -> list[tuple[int, JobStatus]]:
    async with world.database.session_scope() as session:
        return [(one.id, one.status) for one in await jobs.reap(session)]


async def take(world: World, limit: int = 100, names: Collection[str] = (Note.name, Sum.name)) -> list[int]:
    async with world.database.session_scope() as session:
        return [one.id for one in await jobs.take_unpublished(session, limit=limit, names=names)]


async def test_a_job_of_a_transaction_that_rolls_back_never_exists(world: World) -> None:
    """Neither a row nor a wake-up call is left of a job whose transaction rolled back; a commit makes both."""

    class Counting:
        calls = 0

        def wake(self) -> None:
            self.calls += 1

    waker = Counting()
    use_waker(waker)
    try:
        async with world.database.session_scope() as session:
            await enqueue(session, Note())
            await session.rollback()
        assert (await world.scalar("SELECT count(*) FROM jobs"), waker.calls) == (0, 0)
        async with world.database.session_scope() as session:
            await enqueue(session, Note())
            await enqueue(session, Note())
            assert waker.calls == 0
        assert (await world.scalar("SELECT count(*) FROM jobs"), waker.calls) == (2, 1)
    finally:
        use_waker(None)


async def test_enqueue_many_keeps_order_and_cause(world: World) -> None:
    """Ids come in the order of the messages, and every row names the request, trace and user that caused it."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with bound(Cause(request_id="r-1", traceparent=traceparent, user_id=7)):
        ids = await send(world, *(Note(text=str(n)) for n in range(50)), Sum())
    rows = {one.id: one for one in await world.rows("SELECT * FROM jobs")}
    assert [rows[job_id].payload.get("text") for job_id in ids] == [*map(str, range(50)), None]
    assert [rows[job_id].queue for job_id in ids] == ["io"] * 50 + ["cpu"]
    assert {(one.request_id, one.traceparent, one.created_by) for one in rows.values()} == {("r-1", traceparent, 7)}
    assert {one.max_attempts for one in rows.values() if one.name == Note.name} == {2}
    assert await send(world) == []


async def test_one_of_twenty_rivals_gets_the_job(world: World) -> None:
    """However many workers claim a job at once, one has it, and the attempt counts once."""
    (job_id,) = await send(world, Note())
    winners = [job for job in await asyncio.gather(*(claim(world, job_id) for _ in range(20))) if job is not None]
    assert len(winners) == 1
    after = await row(world, job_id)
    assert (after.status, after.attempt, after.lease_token) == ("running", 1, winners[0].lease_token)


async def test_a_job_is_not_claimed_before_its_time(world: World) -> None:
    """A job that is due later is neither published nor claimed now."""
    (job_id,) = await send(world, Note(), run_at=datetime.now(UTC) + timedelta(hours=1))
    assert await take(world) == []
    assert await claim(world, job_id) is None
    await world.execute("UPDATE jobs SET run_at = now()")
    assert await take(world) == [job_id]
    assert await claim(world, job_id) is not None


async def test_a_job_of_an_unknown_name_is_left(world: World) -> None:
    """A worker that does not know a job leaves it queued, and uncounted, to one that does."""
    (job_id,) = await send(world, Note())
    assert await claim(world, job_id, names=("another",)) is None
    left = await row(world, job_id)
    assert (left.status, left.attempt) == ("queued", 0)


async def test_a_claim_does_not_wait_for_a_job_that_runs(world: World) -> None:
    """While the transaction that completes one job is open, others that came with its message are claimed."""
    running, *waiting = await send(world, Note(), Note(), Note())
    job = await claim(world, running)
    assert job is not None
    async with world.database.session_scope() as completing:
        assert await jobs.succeed(completing, [Success(running, job.lease_token)])
        for ids in ([running, waiting[0]], [running]):
            async with asyncio.timeout(5), world.database.session_scope() as session:
                rows = await jobs.claim(session, ids, names=(Note.name,), lease_seconds=LEASE)
            assert [one.id for one in rows] == ids[1:]


async def test_steps_of_many_jobs_are_each_fenced_alone(world: World) -> None:
    """Of jobs that are claimed and completed at once, each that is somebody else's is left out, and no other."""
    ids = await send(world, Note(), Note(), Note())
    first = await claim(world, ids[0])
    assert first is not None
    async with world.database.session_scope() as session:
        rows = await jobs.claim(session, [*ids, 10**9], names=(Note.name,), lease_seconds=LEASE)
    assert {one.id for one in rows} == set(ids[1:])
    assert len({one.lease_token for one in rows}) == 2
    leases = {one.id: one.lease_token for one in rows}
    done = [
        Success(ids[0], uuid4(), "nobody's"),
        Success(ids[1], leases[ids[1]], {"sent": 3}, Progress(3, 4, "nearly")),
        Success(ids[2], leases[ids[2]]),
    ]
    async with world.database.session_scope() as session:
        assert await jobs.succeed(session, done) == set(ids[1:])
    rows = [await row(world, one) for one in ids]
    assert [one.status for one in rows] == ["running", "succeeded", "succeeded"]
    assert [one.result for one in rows] == [None, {"sent": 3}, None]
    assert [(one.progress_done, one.progress_total, one.progress_note) for one in rows[1:]] == [
        (3, 4, "nearly"),
        (0, None, None),
    ]


async def test_success_under_a_stale_lease_changes_nothing(world: World) -> None:
    """The lease of an earlier attempt can neither complete, fail, renew nor release the job."""
    first = await claimed(world)
    await expire(world, first.id)
    assert await reap(world) == [(first.id, JobStatus.QUEUED)]
    second = await claim(world, first.id)
    assert second is not None
    before = await row(world, first.id)
    for stale in (first.lease_token, uuid4()):
        async with world.database.session_scope() as session:
            assert not await jobs.succeed(session, [Success(first.id, stale, {"by": "the first"})])
            assert not await jobs.renew(session, first.id, stale, lease_seconds=LEASE)
            lost = await jobs.retry_or_bury(session, first.id, stale, error="late", delay=0, final=True)
            assert lost is None
            await jobs.release(session, first.id, stale)
            assert not await jobs.report_progress(session, first.id, stale, Progress(1, 2, "late"))
    assert await row(world, first.id) == before
    async with world.database.session_scope() as session:
        assert await jobs.succeed(session, [Success(first.id, second.lease_token, {"by": "the second"})]) == {first.id}
    after = await row(world, first.id)
    assert (after.status, after.attempt, after.result, after.lease_token) == (
        "succeeded",
        2,
        {"by": "the second"},
        None,
    )
    assert after.finished_at >= after.started_at


async def test_a_renewed_lease_is_not_reaped(world: World) -> None:
    """Renewing pushes the end of the lease away, even one that is over and not yet taken back."""
    job = await claimed(world)
    await expire(world, job.id)
    async with world.database.session_scope() as session:
        assert await jobs.renew(session, job.id, job.lease_token, lease_seconds=LEASE)
    assert await reap(world) == []
    left = (await row(world, job.id)).lease_expires_at - datetime.now(UTC)
    assert timedelta(seconds=LEASE / 2) < left <= timedelta(seconds=LEASE)


async def test_a_failed_attempt_waits_and_the_last_one_is_buried_with_its_error(world: World) -> None:
    """A failure before the last attempt queues the job for later, to be published anew; the last one is kept."""
    job = await claimed(world)
    async with world.database.session_scope() as session:
        status = await jobs.retry_or_bury(session, job.id, job.lease_token, error="first", delay=60, final=False)
    assert status is JobStatus.QUEUED
    waiting = await row(world, job.id)
    assert (waiting.error, waiting.published_at, waiting.finished_at) == ("first", None, None)
    assert timedelta(seconds=50) < waiting.run_at - datetime.now(UTC) <= timedelta(seconds=60)
    await world.execute("UPDATE jobs SET run_at = now()")
    again = await claim(world, job.id)
    assert again is not None
    async with world.database.session_scope() as session:
        status = await jobs.retry_or_bury(session, job.id, again.lease_token, error="second", delay=60, final=False)
    assert status is JobStatus.FAILED
    dead = await row(world, job.id)
    assert (dead.status, dead.attempt, dead.error, dead.lease_token) == ("failed", 2, "second", None)
    assert dead.finished_at is not None
    assert await claim(world, job.id) is None


async def test_a_final_failure_is_buried_at_once(world: World) -> None:
    """What can never succeed is not tried again, whatever attempts are left."""
    job = await claimed(world)
    async with world.database.session_scope() as session:
        status = await jobs.retry_or_bury(session, job.id, job.lease_token, error="never", delay=0, final=True)
    assert status is JobStatus.FAILED
    assert ((await row(world, job.id)).attempt, await take(world)) == (1, [])


async def test_the_reaper_gives_back_and_then_buries(world: World) -> None:
    """An expired lease returns the job to the queue; after the last attempt it buries the job and says why."""
    job = await claimed(world)
    assert await reap(world) == []
    await expire(world, job.id)
    reaped = await asyncio.gather(*(reap(world) for _ in range(5)))
    assert [one for some in reaped for one in some] == [(job.id, JobStatus.QUEUED)]
    assert await take(world) == [job.id]
    assert await claim(world, job.id) is not None
    await expire(world, job.id)
    assert await reap(world) == [(job.id, JobStatus.FAILED)]
    dead = await row(world, job.id)
    assert (dead.status, dead.attempt) == ("failed", 2)
    assert "lease expired" in dead.error


async def test_a_released_attempt_does_not_count(world: World) -> None:
    """An attempt that was interrupted from outside is given back: queued at once, to be published, uncounted."""
    job = await claimed(world)
    async with world.database.session_scope() as session:
        await jobs.release(session, job.id, job.lease_token)
    back = await row(world, job.id)
    assert (back.status, back.attempt, back.published_at, back.lease_token) == ("queued", 0, None, None)
    assert await take(world) == [job.id]


async def test_rival_relays_share_the_work(world: World) -> None:
    """Relays that take jobs at the same time get different ones, all of them together, the oldest first."""
    ids = await send(world, *(Note() for _ in range(60)))
    assert await take(world, limit=1) == ids[:1]
    taken = await asyncio.gather(*(take(world, limit=20) for _ in range(6)))
    assert sorted(one for some in taken for one in some) == ids[1:]


async def test_patience_grows_with_each_publication(world: World) -> None:
    """A message that nobody claimed is published again after 30 s, then after 60 s, and so on up to 256 times."""
    (job_id,) = await send(world, Note())

    async def stale(seconds: float) -> bool:
        await world.execute("UPDATE jobs SET published_at = now() - make_interval(secs => :age)", age=seconds)
        async with world.database.session_scope() as session:
            return await jobs.unpublish_stale(session, older_than=30) == 1

    for publications, patience in ((1, 30), (2, 60), (3, 120), (9, 30 * 256), (40, 30 * 256)):
        await world.execute("UPDATE jobs SET publications = :n", n=publications)
        assert not await stale(patience - 5), publications
        assert await stale(patience + 5), publications
        assert await take(world) == [job_id]


async def test_unpublishing_touches_queued_jobs_only(world: World) -> None:
    """Publishing everything again concerns what waits: jobs that run or have ended keep out of the queues."""
    running, waiting, fresh = await send(world, Note(), Note(), Note())
    assert len(await take(world, limit=2)) == 2
    assert await claim(world, running) is not None
    async with world.database.session_scope() as session:
        assert await jobs.unpublish_all(session) == 1
        await jobs.unpublish(session, [running, waiting])
    assert sorted(await take(world)) == [waiting, fresh]
