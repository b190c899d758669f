"""One attempt at one job, on the real ledger, with bodies that the tests control."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from app.config import JobSettings
from app.core.context import Cause, bound, current_cause
from app.core.database import WriteSession
from app.core.jobs import JobFailed, JobMessage, JobStatus, Retry, enqueue
from app.crud.jobs import jobs
from app.models import Doctor
from app.tasks.attempt import MAX_ERROR, Attempt, Effect, Runner
from tests.support import World, eventually


class Note(JobMessage):
    name: ClassVar[str] = "test.note"
    retry: ClassVar[Retry] = Retry(max_attempts=2, base=60)
    text: str = ""


class Hasty(JobMessage):
    name: ClassVar[str] = "test.hasty"
    timeout: ClassVar[float] = 0.2


Work = Callable[[Any, Attempt], Awaitable[Any]]


def runner(world: World, work: Work, *, lease: float = 30, heartbeat: float = 5) -> Runner:
    return Runner(world.database, {Note: work, Hasty: work}, JobSettings(lease=lease, heartbeat=heartbeat))


async def send(world: World, message: JobMessage | None = None) -> int:
    async with world.database.session_scope() as session:
        return await enqueue(session, message or Note())


async def row(world: World, job_id: int) -> Any:
    return (await world.rows("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]


async def refuse_updates(world: World, *, away: bool) -> None:
    """Let every statement on the ledger fail as in a database that is going down, or end that."""
    await world.execute(
        """CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'going down' USING ERRCODE = '57P01'; END $$"""
    )
    await world.execute("DROP TRIGGER IF EXISTS refuse ON jobs")
    if away:
        await world.execute("CREATE TRIGGER refuse BEFORE UPDATE ON jobs EXECUTE FUNCTION refuse()")


@pytest.fixture
async def outage(world: World) -> AsyncIterator[Callable[[bool], Awaitable[None]]]:
    """Switches an outage of the ledger on and off; it is over after the test."""

    async def switch(away: bool) -> None:
        await refuse_updates(world, away=away)

    yield switch
    await switch(False)


async def test_a_job_runs_with_its_message_its_cause_and_its_result(world: World) -> None:
    """The body gets the typed message and runs for the cause of the job; the ledger keeps what it returns."""
    seen: list[Any] = []

    async def body(message: Note, attempt: Attempt) -> Any:
        seen.append((message.text, attempt.number, current_cause()))
        return {"said": message.text}

    with bound(Cause(request_id="r-1", user_id=5)):
        job_id = await send(world, Note(text="hello"))
    assert await runner(world, body).run(job_id) is JobStatus.SUCCEEDED
    assert seen == [("hello", 1, Cause(request_id="r-1", user_id=5))]
    done = await row(world, job_id)
    assert (done.status, done.result, done.error) == ("succeeded", {"said": "hello"}, None)
    assert await runner(world, body).run(job_id) is None
    assert len(seen) == 1
    assert current_cause() == Cause()


async def test_messages_that_arrive_many_times_run_the_body_once(world: World) -> None:
    """Twenty messages for one job at once make one attempt."""
    runs = 0

    async def body(_: Note, __: Attempt) -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)

    job_id = await send(world)
    outcomes = await asyncio.gather(*(runner(world, body).run(job_id) for _ in range(20)))
    assert (runs, outcomes.count(JobStatus.SUCCEEDED), outcomes.count(None)) == (1, 1, 19)


async def test_a_result_that_the_ledger_refuses_fails_its_own_job_alone(world: World) -> None:
    """Of jobs that end together, the one whose result can't be stored is tried again; the others have succeeded."""

    async def body(message: Note, _: Attempt) -> Any:
        return message.text.replace("nul", "\0")

    same = runner(world, body)
    ids = [await send(world, Note(text=text)) for text in ("one", "nul", "two")]
    assert await asyncio.gather(*map(same.run, ids)) == [JobStatus.SUCCEEDED, JobStatus.QUEUED, JobStatus.SUCCEEDED]
    assert [(await row(world, one)).result for one in ids] == ["one", None, "two"]


async def test_a_failing_job_is_tried_again_and_then_kept_with_its_error(world: World) -> None:
    """An error queues the job for a later time; the last attempt's error stays with the failed job."""

    async def body(_: Note, attempt: Attempt) -> None:
        raise ValueError(f"attempt {attempt.number}")

    job_id = await send(world)
    assert await runner(world, body).run(job_id) is JobStatus.QUEUED
    assert await runner(world, body).run(job_id) is None, "not before its time"
    await world.execute("UPDATE jobs SET run_at = now()")
    assert await runner(world, body).run(job_id) is JobStatus.FAILED
    dead = await row(world, job_id)
    assert (dead.status, dead.attempt, dead.error) == ("failed", 2, "ValueError: attempt 2")


async def test_a_job_that_says_it_can_never_succeed_is_not_tried_again(world: World) -> None:
    """JobFailed ends the job at once and keeps its reason."""

    async def body(_: Note, __: Attempt) -> None:
        raise JobFailed("the account is gone")

    job_id = await send(world)
    assert await runner(world, body).run(job_id) is JobStatus.FAILED
    assert (await row(world, job_id)).error == "JobFailed: the account is gone"


async def test_a_payload_that_does_not_fit_counts_as_an_error(world: World) -> None:
    """A payload that the worker's message type refuses fails the attempt, not the worker."""
    job_id = await send(world)
    await world.execute("UPDATE jobs SET payload = '{\"text\": [1]}'")

    async def body(_: Note, __: Attempt) -> None:
        raise AssertionError("must not run")

    assert await runner(world, body).run(job_id) is JobStatus.QUEUED
    assert "ValidationError" in (await row(world, job_id)).error


async def test_errors_are_redacted_bounded_and_without_sql(world: World) -> None:
    """What the ledger keeps of an error holds no secret, no SQL, nothing PostgreSQL refuses, and is bounded."""

    async def leaking(_: Note, __: Attempt) -> None:
        raise RuntimeError("postgresql://app:hunter2@db/x password=hunter2 \0 \ud800 " + "x" * 2_500)

    async def refused(_: Note, __: Attempt) -> None:
        await world.execute("INSERT INTO users (email, password_hash) VALUES (:email, 'hunter2')", email="a@b.example")

    leaked, asked = await send(world), await send(world)
    await runner(world, leaking).run(leaked)
    await runner(world, refused).run(asked)
    kept = (await row(world, leaked)).error
    assert kept.startswith("RuntimeError: postgresql://app:***@db/x password=***")
    assert "hunter2" not in kept
    assert len(kept) == MAX_ERROR
    assert (await row(world, asked)).error == "IntegrityError: the database refused it (23502)"


async def test_an_attempt_that_takes_too_long_is_stopped(world: World) -> None:
    """After the job's own limit the body is cancelled and the attempt counts as failed."""
    stopped = asyncio.Event()

    async def body(_: Hasty, __: Attempt) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            stopped.set()

    job_id = await send(world, Hasty())
    assert await runner(world, body).run(job_id) is JobStatus.QUEUED
    assert stopped.is_set()
    late = await row(world, job_id)
    assert (late.attempt, late.error) == (1, "TimeoutError: took longer than 0.2 s")


async def test_a_body_cancelled_from_within_counts_as_failed(world: World) -> None:
    """A cancellation that a library raises by itself is an error of the attempt, not a stop of the worker."""

    async def body(_: Note, __: Attempt) -> None:
        raise asyncio.CancelledError

    job_id = await send(world)
    assert await runner(world, body).run(job_id) is JobStatus.QUEUED
    assert (await row(world, job_id)).attempt == 1


async def test_a_cancelled_attempt_is_given_back(world: World) -> None:
    """A worker that stops interrupts its job: the job is queued again at once and the attempt does not count."""
    begun = asyncio.Event()

    async def body(_: Note, __: Attempt) -> None:
        begun.set()
        await asyncio.sleep(30)

    job_id = await send(world)
    task = asyncio.create_task(runner(world, body).run(job_id))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    back = await row(world, job_id)
    assert (back.status, back.attempt, back.error) == ("queued", 0, None)


async def test_a_running_job_keeps_its_lease(world: World) -> None:
    """A body that runs for longer than one lease is not taken back, because its heart beats."""

    async def body(_: Note, __: Attempt) -> str:
        first = (await world.rows("SELECT lease_expires_at FROM jobs"))[0][0]

        async def renewed() -> bool:
            return bool((await world.rows("SELECT lease_expires_at FROM jobs"))[0][0] > first)

        await eventually(renewed)
        async with world.database.session_scope() as session:
            assert not await jobs.reap(session)
        return "done"

    job_id = await send(world)
    assert await runner(world, body, lease=30, heartbeat=0.1).run(job_id) is JobStatus.SUCCEEDED
    assert (await row(world, job_id)).attempt == 1


async def test_a_stale_attempt_is_stopped_and_leaves_no_trace(world: World) -> None:
    """When the job has passed to another attempt, the heartbeat stops the body; the ledger stays the successor's."""
    stopped = asyncio.Event()

    async def body(_: Note, attempt: Attempt) -> str:
        await world.execute("UPDATE jobs SET lease_token = :token, attempt = 2", token=uuid4())
        try:
            await asyncio.sleep(30)
        finally:
            stopped.set()
        return "stale"

    job_id = await send(world)
    assert await runner(world, body, lease=1, heartbeat=0.1).run(job_id) is None
    assert stopped.is_set()
    after = await row(world, job_id)
    assert (after.status, after.attempt, after.result, after.error) == ("running", 2, None, None)


@pytest.mark.parametrize("outcome", ["result", "error"])
async def test_the_outcome_of_a_stale_attempt_is_dropped(world: World, outcome: str) -> None:
    """An attempt that ends after its lease has passed on changes nothing, whether it succeeded or failed."""

    async def body(_: Note, __: Attempt) -> str:
        await world.execute("UPDATE jobs SET lease_token = :token, attempt = 2", token=uuid4())
        if outcome == "error":
            raise ValueError("stale")
        return "stale"

    job_id = await send(world)
    assert await runner(world, body).run(job_id) is None
    after = await row(world, job_id)
    assert (after.status, after.attempt, after.result, after.error) == ("running", 2, None, None)


async def test_a_body_does_not_outlive_a_lease_that_cannot_be_renewed(
    world: World, outage: Callable[[bool], Awaitable[None]]
) -> None:
    """While the ledger is away, nobody knows who owns the job: the body is stopped when its own lease must be over."""
    loop = asyncio.get_running_loop()
    stopped: list[float] = []

    async def body(_: Note, __: Attempt) -> None:
        await outage(True)
        try:
            await asyncio.sleep(30)
        finally:
            stopped.append(loop.time())

    job_id, begun = await send(world), loop.time()
    assert await runner(world, body, lease=1, heartbeat=0.2).run(job_id) is None
    assert 1 <= stopped[0] - begun < 10
    assert (await row(world, job_id)).status == "running", "the reaper will see to it"


async def test_an_outcome_waits_for_a_ledger_that_comes_back(
    world: World, outage: Callable[[bool], Awaitable[None]]
) -> None:
    """A success that can't be written down at once is written down later: the work is not repeated."""
    back: list[asyncio.Task[None]] = []

    async def heal() -> None:
        await asyncio.sleep(0.3)
        await outage(False)

    async def body(_: Note, __: Attempt) -> str:
        await outage(True)
        back.append(asyncio.create_task(heal()))
        return "done"

    job_id = await send(world)
    assert await runner(world, body).run(job_id) is JobStatus.SUCCEEDED
    await back[0]
    after = await row(world, job_id)
    assert (after.status, after.attempt) == ("succeeded", 1)


async def test_rows_are_written_exactly_when_the_job_succeeds(world: World) -> None:
    """A body's rows and its completion are one transaction: both or neither."""
    fails = [True, False]

    async def write(session: WriteSession) -> dict[str, int]:
        session.add(Doctor(full_name="Dr. Effect", specialty="Jobs", hours=[]))
        await session.flush()
        if fails.pop(0):
            raise RuntimeError("the second half broke")
        return {"doctors": 1}

    async def work(message: Any, attempt: Attempt) -> Effect:
        return Effect(write)

    job_id = await send(world)
    assert await runner(world, work).run(job_id) is JobStatus.QUEUED
    assert await world.scalar("SELECT count(*) FROM doctors") == 0
    await world.execute("UPDATE jobs SET run_at = now()")
    assert await runner(world, work).run(job_id) is JobStatus.SUCCEEDED
    assert await world.scalar("SELECT count(*) FROM doctors") == 1
    assert (await row(world, job_id)).result == {"doctors": 1}


async def test_a_stale_attempt_writes_no_rows(world: World) -> None:
    """The fence comes before the rows: an attempt whose lease another one has taken writes nothing."""

    async def write(session: WriteSession) -> None:
        session.add(Doctor(full_name="Dr. Late", specialty="Jobs", hours=[]))

    async def work(message: Any, attempt: Attempt) -> Effect:
        await world.execute("UPDATE jobs SET lease_token = :token WHERE id = :id", token=uuid4(), id=attempt.job_id)
        return Effect(write)

    assert await runner(world, work).run(await send(world)) is None
    assert await world.scalar("SELECT count(*) FROM doctors") == 0
