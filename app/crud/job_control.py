"""What operators, and time, do to the jobs of the ledger: stopping, repeating and deleting them."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import case, delete, func, select, update

from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.jobs import LIVE, JobStatus, Queue
from app.crud.jobs import jobs, tell
from app.models import Job

_AT_REST: dict[str, Any] = {"published_at": None, "lease_token": None, "lease_expires_at": None}


async def lock(session: WriteSession, job_id: int) -> AnyRow | None:
    """The job, which nobody else moves before this transaction ends."""
    statement = jobs.select(Job.id == job_id).with_for_update(key_share=True)
    return (await session.execute(statement)).first()


async def cancel(session: WriteSession, job_id: int) -> AnyRow:
    """End a live job. Without its lease, whoever runs it can't write its outcome any more."""
    statement = update(Job).where(Job.id == job_id, Job.status.in_(LIVE))
    values = {"status": JobStatus.CANCELLED, "finished_at": func.now(), "version": Job.version + 1} | _AT_REST
    row = (await session.execute(statement.values(values).returning(*Job.__table__.c))).one()
    tell(session, row)
    return row


async def revive(session: WriteSession, job_id: int) -> AnyRow:
    """Queue a job that has failed or was cancelled, with all its attempts before it."""
    statement = update(Job).where(Job.id == job_id, Job.status.in_((JobStatus.FAILED, JobStatus.CANCELLED)))
    values = {
        "status": JobStatus.QUEUED,
        "attempt": 0,
        "run_at": func.now(),
        "finished_at": None,
        "version": Job.version + 1,
    } | _AT_REST
    row = (await session.execute(statement.values(values).returning(*Job.__table__.c))).one()
    tell(session, row)
    return row


async def due(read: ReadSession, *, queue: Queue | None, but_not: Collection[int], limit: int) -> Sequence[int]:
    """Ids of jobs that could be attempted now, in the order in which they would be."""
    where = [Job.status == JobStatus.QUEUED, Job.run_at <= func.now(), Job.id.not_in(but_not)]
    if queue is not None:
        where.append(Job.queue == queue)
    order = (Job.priority.desc(), Job.run_at, Job.id)
    return [row.id for row in await read.all(select(Job.id).where(*where).order_by(*order).limit(limit))]


async def finished_before(
    read: ReadSession, *, kept: timedelta, failed_kept: timedelta, limit: int
) -> Sequence[AnyRow]:
    """The oldest jobs (id, result) that ended longer ago than they are kept."""
    long_ago = case((Job.status == JobStatus.FAILED.value, func.now() - failed_kept), else_=func.now() - kept)
    statement = select(Job.id, Job.result).where(Job.status.not_in(LIVE), Job.finished_at < long_ago)
    return await read.all(statement.order_by(Job.id).limit(limit))


async def delete_finished(session: WriteSession, job_ids: Sequence[int]) -> int:
    """Delete these jobs, but for those that have been given another attempt meanwhile."""
    statement = delete(Job).where(Job.id.in_(job_ids), Job.status.not_in(LIVE)).returning(Job.id)
    return len((await session.execute(statement)).all())
