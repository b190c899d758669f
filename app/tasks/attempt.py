"""One attempt at one job: claim, renew the lease while it runs, complete fenced by it (decision 2)."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from app.config import JobSettings
from app.core.batching import Batcher
from app.core.context import Cause, bound, current_cause
from app.core.database import (
    AnyRow,
    Database,
    SingleStatements,
    WriteSession,
    is_retryable,
    is_unavailable,
    sqlstate,
)
from app.core.jobs import JobDelayed, JobFailed, JobMessage, JobStatus, Progress
from app.core.logging import get_logger
from app.core.metrics import JOB_SECONDS, JOB_WAIT_SECONDS, JOBS, JOBS_DEAD, JOBS_RETRIED
from app.core.redaction import redact_text
from app.core.wakeup import wake_relay
from app.crud.jobs import Success, jobs
from app.tasks.cancellation import came, cancel
from app.tasks.progress import LeaseLost, ProgressLine
from app.tasks.spans import attempt_span, failed_attempt

log = get_logger(__name__)
MAX_ERROR = 2000
CANCEL_SECONDS = 5
CROWDED_SECONDS = 2.0
"""How long a job stands back that would be one too many of its name."""
AT_ONCE = 100
"""Of how many jobs one statement makes a step."""
TURN_SECONDS = 0.1
"""How long a claimed job waits for the one before it; then it is for another worker."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a job body knows of itself."""

    job_id: int
    lease: UUID
    number: int
    accepted_at: datetime
    line: ProgressLine

    @property
    def job_key(self) -> str:
        """Names the job for good: the same over its attempts, and not given again by a database that starts anew."""
        return f"job-{self.job_id}.{int(self.accepted_at.timestamp())}"

    @property
    def over(self) -> bool:
        """Whether nobody waits for this attempt any more: its job was cancelled, taken over, or took too long."""
        return self.line.over

    async def progress(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """Say how far the work is; as often as you like, it is written twice a second at most, and at the end.

        LeaseLost, which is not for the body to catch, when the attempt is over.
        """
        await self.line.report(Progress(done, total, note))

    def progress_from_thread(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """The same, from a thread that computes. It never waits; its LeaseLost is what ends a computation early."""
        self.line.report_from_thread(Progress(done, total, note))


def describe(error: Exception) -> str:
    """What the ledger keeps of an error, and its creator may read: no secret, no SQL, no more than fits."""
    said = str(error)
    if isinstance(error, DBAPIError):
        said = f"the database refused it ({sqlstate(error) or type(error.orig).__name__})"
    # Cut before the search for secrets, too: a body may quote megabytes.
    kept = redact_text(f"{type(error).__name__}: {said[: 4 * MAX_ERROR]}").replace("\0", "")[:MAX_ERROR]
    return kept.encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class Effect:
    """What a body returns whose effect is rows: `write` runs in the transaction that completes the job, once fenced.

    So the rows are there exactly when the job has succeeded, whatever dies in between; its answer is the job's result.
    """

    write: Callable[[WriteSession], Awaitable[Any]]


Body = Callable[[Any, Attempt], Awaitable[Any]]
Bodies = Mapping[type[JobMessage], Body]


def _is_of_one(error: Exception) -> bool:
    """Whether a step that was made for several jobs failed because of one of them."""
    return not _may_pass(error)


def _may_pass(error: BaseException) -> bool:
    return is_unavailable(error) or is_retryable(error)


class Runner:
    """Runs jobs by id. It never raises for what a job does: the ledger keeps the outcome and decides on a retry."""

    def __init__(
        self,
        database: Database,
        bodies: Bodies,
        settings: JobSettings,
        *,
        single: SingleStatements | None = None,
        at_once: int = sys.maxsize,
    ) -> None:
        """`single` carries out the steps that are one statement; unset: `database` does.

        No more than `at_once` bodies run at a time. A job that was claimed and does not get its turn soon goes back.
        """
        self._database = database
        self._single = single or database.single
        self._turns = asyncio.Semaphore(at_once)
        # No more wait than there are slots for jobs.
        self._claims: Batcher[int, AnyRow | None] = Batcher(
            self._claim_free, batch=AT_ONCE, waiting=sys.maxsize, separable=_is_of_one
        )
        self._successes: Batcher[Success, bool] = Batcher(
            self._record_successes, batch=AT_ONCE, waiting=sys.maxsize, separable=_is_of_one
        )
        self._bodies = {message.name: (message, body) for message, body in bodies.items()}
        self._free = [message.name for message in bodies if message.max_running is None]
        self._capped = [message.name for message in bodies if message.max_running is not None]
        self._settings = settings
        self._nudges: dict[int, asyncio.Event] = {}
        for message in bodies:
            # From zero on: what Prometheus first sees at one has not risen.
            JOBS_DEAD.labels(message.name)
            JOBS_RETRIED.labels(message.name)

    def look_after(self, job_id: int) -> None:
        """This job is said to be cancelled: if it runs here, look into the ledger now and not at the next beat."""
        if nudge := self._nudges.get(job_id):
            nudge.set()

    async def run(self, job_id: int) -> JobStatus | None:
        """Attempt the job; None when there was nothing to claim, so that the message is dropped."""
        job = await self._recorded(lambda: self._claim(job_id))
        if job is None:
            await self._leave(job_id)
            return None
        claimed = time.perf_counter()
        if not await self._has_turn(job):
            return None
        with (
            attempt_span(job) as traceparent,
            bound(
                Cause(request_id=job.request_id, traceparent=traceparent or job.traceparent, user_id=job.created_by),
                job_id=job.id,
                job=job.name,
                attempt=job.attempt,
            ),
        ):
            waited = (job.started_at - job.run_at).total_seconds() + time.perf_counter() - claimed
            JOB_WAIT_SECONDS.labels(job.queue.value).observe(max(0.0, waited))
            return await self._attempt(job)

    async def _leave(self, job_id: int) -> None:
        """A message whose job can't be claimed here: mostly it came twice, sometimes its name is a newer worker's."""
        if await self._recorded(lambda: jobs.leave_to_others(self._single, job_id, known=self._bodies)):
            log.info("of a name unknown here: left to a newer worker", job_id=job_id)
            wake_relay()
        else:
            log.debug("nothing to claim", job_id=job_id)

    async def _has_turn(self, job: AnyRow) -> bool:
        """Whether the body may begin, which then has to end its turn. If not, the job has gone back."""
        try:
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await self._turns.acquire()
            except TimeoutError:
                await self._recorded(lambda: jobs.release(self._single, job.id, job.lease_token))
            else:
                return True
        except asyncio.CancelledError:
            await asyncio.shield(self._release(job.id, job.lease_token))
            raise
        log.debug("its turn did not come here", job_id=job.id, job=job.name)
        wake_relay()
        return False

    async def _claim(self, job_id: int) -> AnyRow | None:
        job = await self._claims.add(job_id)
        return job or (await self._claim_capped(job_id) if self._capped else None)

    async def _claim_free(self, job_ids: Sequence[int]) -> Sequence[AnyRow | None]:
        rows = await jobs.claim(self._single, job_ids, names=self._free, lease_seconds=self._settings.lease)
        # A message that came twice within one batch: the job is the first one's.
        claimed = {row.id: row for row in rows}
        return [claimed.pop(job_id, None) for job_id in job_ids]

    async def _claim_capped(self, job_id: int) -> AnyRow | None:
        async with self._database.session_scope() as session:
            rows = await jobs.claim(session, [job_id], names=self._capped, lease_seconds=self._settings.lease)
            job = rows[0] if rows else None
            limit = self._bodies[job.name][0].max_running if job else None
            if job is None or limit is None or await jobs.is_within(session, job.name, limit=limit):
                return job
            log.debug("as many as may run at once are running", job_id=job_id, job=job.name)
            await jobs.release(session, job.id, job.lease_token, delay=CROWDED_SECONDS)
            return None

    async def _attempt(self, job: AnyRow) -> JobStatus | None:
        started, started_ns = time.perf_counter(), time.time_ns()
        outcome: JobStatus | None = JobStatus.SUCCEEDED
        message_type, body = self._bodies[job.name]
        attempt = Attempt(job.id, job.lease_token, job.attempt, job.created_at, self._line(job))
        try:
            try:
                message = message_type.model_validate(job.payload)
                result = await self._with_lease(attempt, body(message, attempt), seconds=message_type.timeout)
            finally:
                # The next one works while the outcome of this one is written down.
                self._turns.release()
            last = attempt.line.take()
            await self._recorded(lambda: self._succeed(attempt, result, last))
        except LeaseLost:
            outcome = await self._fate(attempt)
        except asyncio.CancelledError:
            await asyncio.shield(self._release(attempt.job_id, attempt.lease))
            raise
        except Exception as error:  # noqa: BLE001 - whatever a job raises is its outcome
            failed_attempt(job, error, started_ns=started_ns)
            outcome = await self._failed(attempt, message_type, error)
        if message_type.max_running is not None:
            wake_relay()
        seconds = time.perf_counter() - started
        if outcome is JobStatus.QUEUED:
            JOBS_RETRIED.labels(job.name).inc()
        elif outcome is JobStatus.FAILED:
            JOBS_DEAD.labels(job.name).inc()
        JOBS.labels(job.name, outcome.value if outcome else "lost").inc()
        JOB_SECONDS.labels(job.name).observe(seconds)
        log.info("job", outcome=outcome.value if outcome else "lost", duration_ms=round(seconds * 1000, 1))
        return outcome

    async def _fate(self, attempt: Attempt) -> JobStatus | None:
        """What an attempt that lost its lease came to: somebody cancelled its job, or another attempt has it (None)."""
        with suppress(Exception):
            job = await jobs.get(self._database.read, attempt.job_id)
            if job is not None and job.status is JobStatus.CANCELLED:
                log.info("cancelled, the outcome is dropped")
                return JobStatus.CANCELLED
        log.warning("lease lost, the outcome is dropped")
        return None

    def _line(self, job: AnyRow) -> ProgressLine:
        async def write(progress: Progress) -> bool:
            return await jobs.report_progress(self._single, job.id, job.lease_token, progress)

        return ProgressLine(write)

    async def _with_lease(self, attempt: Attempt, work: Awaitable[Any], *, seconds: float) -> Any:
        """The body's result; LeaseLost as soon as the lease is known to be lost, TimeoutError after `seconds`."""
        task = asyncio.ensure_future(work)
        heart = asyncio.create_task(self._beat(attempt))
        self._nudges[attempt.job_id] = attempt.line.nudge
        try:
            await asyncio.wait({task, heart}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.cancelled():
                raise RuntimeError("the body ended in a cancellation of its own")
            if task.done():
                return task.result()
            if heart.done():
                heart.result()
                raise LeaseLost
            raise TimeoutError(f"took longer than {seconds:g} s")
        finally:
            attempt.line.over = True
            del self._nudges[attempt.job_id]
            if await cancel(task, heart, within=CANCEL_SECONDS):
                log.error("the body does not end, though it was cancelled")

    async def _beat(self, attempt: Attempt) -> None:
        """Renew the lease until it is lost; a database that is away for less than the lease is only a beat missed."""
        renewed = time.monotonic()
        while time.monotonic() - renewed < self._settings.lease:
            await came(attempt.line.nudge, within=self._settings.heartbeat)
            attempt.line.nudge.clear()
            asked = time.monotonic()
            left = self._settings.lease - (asked - renewed)
            try:
                async with asyncio.timeout(left):
                    held = await self._renew(attempt)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("lease not renewed", error=repr(error))
                continue
            if not held:
                return
            renewed = asked

    async def _renew(self, attempt: Attempt) -> bool:
        return await jobs.renew(
            self._single,
            attempt.job_id,
            attempt.lease,
            lease_seconds=self._settings.lease,
            progress=attempt.line.take(),
        )

    async def _record_successes(self, successes: Sequence[Success]) -> Sequence[bool]:
        recorded = await jobs.succeed(self._single, successes)
        return [one.job_id in recorded for one in successes]

    async def _succeed(self, attempt: Attempt, result: Any, progress: Progress | None) -> None:
        if not isinstance(result, Effect):
            if not await self._successes.add(Success(attempt.job_id, attempt.lease, result, progress)):
                raise LeaseLost
            return
        async with self._database.session_scope() as session:
            if not await jobs.succeed(session, [Success(attempt.job_id, attempt.lease, progress=progress)]):
                raise LeaseLost
            await jobs.note_result(session, attempt.job_id, result=await result.write(session))

    async def _failed(self, attempt: Attempt, message_type: type[JobMessage], error: Exception) -> JobStatus | None:
        reason = describe(error)
        final = isinstance(error, JobFailed)
        delay = error.seconds if isinstance(error, JobDelayed) else message_type.retry.delay(attempt.number)
        last = attempt.line.take()
        log.warning("attempt failed", error=reason, exc_info=None if final else error)

        async def record() -> JobStatus | None:
            return await jobs.retry_or_bury(
                self._single,
                attempt.job_id,
                attempt.lease,
                error=reason,
                delay=delay,
                final=final,
                traceparent=current_cause().traceparent,
                progress=last,
            )

        return await self._recorded(record)

    async def _release(self, job_id: int, lease: UUID) -> None:
        # The worker is stopping: the job goes back at once and the attempt does not count.
        with suppress(Exception):
            await jobs.release(self._single, job_id, lease)

    async def _recorded(self, record: Callable[[], Awaitable[T]]) -> T:
        """Make a step in the ledger, waiting for a database that is away for as long as a lease may still be ours."""
        try:
            return await record()
        except Exception as error:
            if not _may_pass(error):
                raise
        async for one in AsyncRetrying(
            stop=stop_after_delay(self._settings.lease),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        ):
            with one:
                return await record()
        raise AssertionError("unreachable: tenacity re-raises")
