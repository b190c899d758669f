"""The ledger's state machine, each step one compare-and-set (decision 2).

queued -> running -> succeeded | queued (retry) | failed. Whoever does not get the row drops the message.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Update, case, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import INTERVAL

from app.core.database import AnyRow, ReadSession, Step, WriteSession, lock_number, take_turns
from app.core.job_changes import announce_change
from app.core.jobs import JobStatus, Progress
from app.crud.base import CRUDBase, Where, one_choice
from app.crud.job_statements import (
    CLAIM_MANY,
    CLAIM_ONE,
    NAMES_DUE,
    NEXT_DUE,
    RELEASED,
    SEEN,
    SUCCEED_MANY,
    SUCCEED_ONE,
    TAKE,
    UNDER_WAY,
    UNWAITED,
    in_status,
)
from app.models import Job


def _seconds(value: float) -> Any:
    return literal(f"{value} seconds").cast(INTERVAL)


def tell(session: Step, *rows: AnyRow) -> None:
    """Announce how these jobs stand now, once that is durable."""
    for row in rows:
        state = {column.key: row._mapping[column.key] for column in SEEN}
        session.after_commit(partial(announce_change, row.id, state))


async def _moved(session: Step, statement: Update) -> AnyRow | None:
    """The job after a step that is its attempt's to make; None when the attempt is not the job's any more."""
    row = (await session.execute(statement.returning(*SEEN))).first()
    if row is not None:
        tell(session, row)
    return row


def _progress(progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        return {}
    return {"progress_done": progress.done, "progress_total": progress.total, "progress_note": progress.note}


def _is_stale(older_than: float) -> ColumnElement[bool]:
    seconds = literal(older_than) * func.power(2.0, func.least(Job.publications - 1, 8))
    return Job.published_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _held(job_id: int, lease: UUID) -> Update:
    return update(Job).where(Job.id == job_id, Job.lease_token == lease, Job.status == JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Success:
    """An attempt that has done its work; `progress` is how far it was said to be at the end."""

    job_id: int
    lease: UUID
    result: Any = None
    progress: Progress | None = None


def _outcome(success: Success) -> dict[str, Any]:
    progress = success.progress
    return {
        "of": success.job_id,
        "lease": success.lease,
        "json": json.dumps(success.result),
        "done": progress.done if progress else None,
        "total": progress.total if progress else None,
        "note": progress.note if progress else None,
    }


class JobCRUD(CRUDBase[Job]):
    def created_by(self, user_id: int, *, but: Collection[str]) -> Where:
        """What this user caused, but for the jobs of these names."""
        return Job.created_by == user_id, Job.name.not_in(but)

    async def seen(self, read: ReadSession, job_ids: Sequence[int]) -> Sequence[AnyRow]:
        """How these jobs stand."""
        return await read.all(select(*SEEN).where(Job.id.in_(job_ids)))

    async def claim(
        self, session: Step, job_ids: Sequence[int], *, names: Sequence[str], lease_seconds: float
    ) -> Sequence[AnyRow]:
        """Take due jobs, each under a new lease token, and count the attempts.

        Left out are those that someone else has, that are not due, or whose name is not in `names`: a newer worker's
        job is left to it.
        """
        values = {"names": names, "seconds": timedelta(seconds=lease_seconds)}
        if len(job_ids) == 1:
            rows = (await session.execute(CLAIM_ONE, {"of": job_ids[0], **values})).all()
        else:
            rows = (await session.execute(CLAIM_MANY, {"ids": job_ids, **values})).all()
        tell(session, *rows)
        return rows

    async def renew(
        self, session: Step, job_id: int, lease: UUID, *, lease_seconds: float, progress: Progress | None = None
    ) -> bool:
        """Push the lease's end away, noting how far the attempt is; False when the lease is lost."""
        said = {**_progress(progress), "version": Job.version + 1} if progress else {}
        statement = (
            _held(job_id, lease).where(UNWAITED).values(lease_expires_at=func.now() + _seconds(lease_seconds), **said)
        )
        if progress:
            return await _moved(session, statement) is not None
        return (await session.execute(statement.returning(Job.id))).first() is not None

    async def report_progress(self, session: Step, job_id: int, lease: UUID, progress: Progress) -> bool:
        """Note how far the attempt is; False when the lease is lost."""
        statement = _held(job_id, lease).values(**_progress(progress), version=Job.version + 1)
        return await _moved(session, statement) is not None

    async def succeed(self, session: Step, successes: Sequence[Success]) -> set[int]:
        """Complete attempts, each fenced by its lease token; gives the ids of the jobs that were still theirs."""
        outcomes = [_outcome(one) for one in successes]
        if len(outcomes) == 1:
            rows = (await session.execute(SUCCEED_ONE, outcomes[0])).all()
        else:
            columns = {name: [one[name] for one in outcomes] for name in outcomes[0]}
            rows = (await session.execute(SUCCEED_MANY, columns)).all()
        tell(session, *rows)
        return {row.id for row in rows}

    async def note_result(self, session: WriteSession, job_id: int, *, result: Any) -> None:
        """Add the result to a job that this transaction has completed."""
        await session.execute(update(Job).where(Job.id == job_id).values(result=result))

    async def retry_or_bury(
        self,
        session: Step,
        job_id: int,
        lease: UUID,
        *,
        error: str,
        delay: float,
        final: bool,
        traceparent: str | None = None,
        progress: Progress | None = None,
    ) -> JobStatus | None:
        """Give the job back for another attempt after `delay` seconds, or bury it; None: the lease was lost."""
        dead = or_(literal(final), Job.attempt >= Job.max_attempts)
        statement = _held(job_id, lease).values(
            status=case((dead, JobStatus.FAILED.value), else_=JobStatus.QUEUED.value),
            run_at=case((dead, Job.run_at), else_=func.now() + _seconds(delay)),
            finished_at=case((dead, func.now()), else_=None),
            published_at=None,
            error=error,
            attempt_traceparent=traceparent,
            **_progress(progress),
            **RELEASED,
        )
        row = await _moved(session, statement)
        return row.status if row else None

    async def is_within(self, session: WriteSession, name: str, *, limit: int) -> bool:
        """Whether no more than `limit` jobs of this name run, the one that this transaction has claimed among them."""
        # Claims of this name take turns from here to their commit, so that each counts all that came before.
        await take_turns(session, lock_number(f"jobs/{name}"))
        running = select(func.count()).where(Job.name == name, in_status(JobStatus.RUNNING))
        return int((await session.execute(running)).scalar_one()) <= limit

    async def release(self, session: Step, job_id: int, lease: UUID, *, delay: float = 0) -> None:
        """Give an attempt back that was interrupted from outside; it does not count."""
        statement = _held(job_id, lease).values(
            status=JobStatus.QUEUED,
            attempt=Job.attempt - 1,
            published_at=None,
            **({Job.run_at.key: func.now() + _seconds(delay)} if delay else {}),
            **RELEASED,
        )
        await _moved(session, statement)

    async def reap(self, session: Step, *, limit: int = 500) -> Sequence[AnyRow]:
        """Take back jobs whose lease has expired: queued again, or failed after the last attempt."""
        expired = (
            select(Job.id)
            .where(in_status(JobStatus.RUNNING), Job.lease_expires_at < func.now())
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        dead = Job.attempt >= Job.max_attempts
        statement = (
            update(Job)
            .where(Job.id == one_choice(expired))
            .values(
                status=case((dead, JobStatus.FAILED.value), else_=JobStatus.QUEUED.value),
                finished_at=case((dead, func.now()), else_=None),
                published_at=None,
                error="the worker stopped answering: its lease expired",
                **RELEASED,
            )
            .returning(Job.name, *SEEN)
        )
        rows = (await session.execute(statement)).all()
        tell(session, *rows)
        return rows

    async def take_unpublished(self, session: Step, *, limit: int, names: Collection[str]) -> Sequence[AnyRow]:
        """Mark due jobs as published and give what a message needs, first come first; rival relays never get the same.

        Only those in `names`: what is newer than a relay is published by one that has workers for it.
        """
        rows = (await session.execute(TAKE, {"names": sorted(names), "limit": limit})).all()
        # What an UPDATE returns has the order of the table.
        return sorted(rows, key=lambda row: (-row.priority, -row.lag, row.id))

    async def room(self, read: ReadSession, caps: Mapping[str, int]) -> dict[str, int]:
        """Of the names in `caps` that have a due job: how many of each may be published, if any.

        That is how many may run beside those that run or wait in a queue already. It keeps crowds out of the queues;
        what may run at once is decided by the claim.
        """
        due = [name for (name,) in await read.rows(NAMES_DUE, {"names": sorted(caps)})] if caps else []
        if not due:
            return {}
        under_way = {row[0]: row[1] for row in await read.rows(UNDER_WAY, {"names": due})}
        room = {name: caps[name] - under_way.get(name, 0) for name in due}
        return {name: number for name, number in room.items() if number > 0}

    async def next_due(self, read: ReadSession) -> float | None:
        """Seconds until a job has to be published; 0 or less when one has to be now, None when none is in sight."""
        seconds = await read.scalar(NEXT_DUE)
        return None if seconds is None else float(seconds)

    async def is_overdue(self, read: ReadSession, *, older_than: float) -> bool:
        """Whether `reap` or `unpublish_stale` has something to do: one look, where they are a transaction."""
        expired = select(Job.id).where(in_status(JobStatus.RUNNING), Job.lease_expires_at < func.now())
        stale = select(Job.id).where(in_status(JobStatus.QUEUED), _is_stale(older_than))
        return bool(await read.scalar(select(or_(expired.exists(), stale.exists()))))

    async def unpublish(self, session: Step, job_ids: Sequence[int]) -> None:
        """The queue did not take these messages: publish them again."""
        await session.execute(
            update(Job)
            .where(Job.id.in_(job_ids), in_status(JobStatus.QUEUED))
            # Not counted: patience with a message grows by its publications, and this was none.
            .values(published_at=None, publications=Job.publications - 1)
        )

    async def leave_to_others(self, session: Step, job_id: int, *, known: Collection[str]) -> bool:
        """Whether the job waits in a queue for somebody who knows its name: then it is published again."""
        statement = (
            update(Job)
            .where(Job.id == job_id, in_status(JobStatus.QUEUED), Job.published_at.is_not(None))
            .where(Job.name.not_in(known))
            .values(published_at=None, publications=Job.publications - 1)
        )
        return (await session.execute(statement.returning(Job.id))).first() is not None

    async def unpublish_stale(self, session: Step, *, older_than: float) -> int:
        """Publish again what nobody has claimed for `older_than` seconds, doubled with each publication."""
        statement = update(Job).where(in_status(JobStatus.QUEUED), _is_stale(older_than)).values(published_at=None)
        return len((await session.execute(statement.returning(Job.id))).all())

    async def unpublish_all(self, session: Step) -> int:
        """The queues were emptied: every queued job is published again, as if for the first time.

        Otherwise each restart of a worker would double the patience with a message that is lost later.
        """
        statement = update(Job).where(in_status(JobStatus.QUEUED), Job.published_at.is_not(None))
        return len((await session.execute(statement.values(published_at=None, publications=0).returning(Job.id))).all())

    async def counts(self, read: ReadSession) -> Sequence[AnyRow]:
        """(queue, status, number, age of the oldest in seconds) of the jobs that are not finished."""
        return await read.all(
            select(
                Job.queue,
                Job.status,
                func.count(),
                func.extract("epoch", func.now() - func.min(Job.run_at)),
            )
            .where(Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING)), Job.run_at <= func.now())
            .group_by(Job.queue, Job.status)
        )


jobs = JobCRUD(Job)
