"""Messages of the job ledger and how they get into it.

A job is a row, inserted in the transaction that caused it; what travels through Redis is its id alone (decision 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict
from sqlalchemy import insert, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.context import current_cause
from app.core.database import Base, WriteSession
from app.core.retries import Retry
from app.core.wakeup import wake_relay

__all__ = [
    "LIVE",
    "UNIQUE_WHILE",
    "JobDelayed",
    "JobFailed",
    "JobMessage",
    "JobStatus",
    "Priority",
    "Progress",
    "Queue",
    "ReportProgress",
    "Retry",
    "enqueue",
    "enqueue_many",
    "staff_names",
]


class Queue(StrEnum):
    """Which engine runs the job: ARQ for waiting (I/O), Celery for computing (CPU)."""

    IO = "io"
    CPU = "cpu"


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE = (JobStatus.QUEUED, JobStatus.RUNNING)
UNIQUE_WHILE = "unique_key IS NOT NULL AND status IN ('queued', 'running')"
UNIQUE_BATCH = 500


class Priority(IntEnum):
    """Which of the jobs that are due goes first. It overtakes what waits, never what runs."""

    HIGH = 1
    NORMAL = 0
    LOW = -1


class JobMessage(BaseModel):
    """What a job is told. Unknown fields are ignored, so that a newer producer can talk to an older worker."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: ClassVar[str]
    queue: ClassVar[Queue] = Queue.IO
    priority: ClassVar[Priority] = Priority.NORMAL
    retry: ClassVar[Retry] = Retry()
    timeout: ClassVar[float] = 60
    """Seconds that one attempt may take."""
    max_running: ClassVar[int | None] = None
    """How many jobs of this name may run at once, over all workers; None: as many as there are slots."""
    for_staff: ClassVar[bool] = False
    """It takes a staff role to look at, and who caused it may not for that alone: for what it takes one to cause, and
    for what would tell a stranger who has an account, by its result or by its time."""

    def unique_key(self) -> str | None:
        """Of the jobs of one name that share a key, at most one is queued or running at any time; None: no such rule.

        A job that runs already may have read what a newer cause has changed since. A key is for work that looks at the
        whole present state, or that is repeated anyway.
        """
        return None


def staff_names(kind: type[JobMessage] = JobMessage) -> set[str]:
    """The names of all jobs that are for staff."""
    own = {kind.name} if kind.for_staff and hasattr(kind, "name") else set()
    return own.union(*map(staff_names, kind.__subclasses__()))


class JobFailed(Exception):
    """The job can never succeed: no further attempt is made, and this reason is kept."""


class JobDelayed(Exception):
    """This attempt failed, and the other side said when to come back: in `seconds`, instead of the message's delay."""

    def __init__(self, reason: str, *, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = max(0.0, seconds)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: `done` of `total` when that is known, and a word for people."""

    done: int
    total: int | None = None
    note: str | None = None


class ReportProgress(Protocol):
    """What a body hands to the service that does the work, so that it can say how far it is."""

    async def __call__(self, done: int, total: int | None = None, note: str | None = None) -> None: ...


# In the driver's words: each request pays for its jobs, and SQLAlchemy's share of this was a quarter (decision 0106).
_ACCEPT_ONE = f"""
    INSERT INTO jobs (name, queue, priority, unique_key, payload, max_attempts, run_at,
                      created_by, request_id, traceparent)
    VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, now()), $8, $9, $10)
    ON CONFLICT (name, unique_key) WHERE {UNIQUE_WHILE} DO NOTHING
    RETURNING id
"""  # noqa: S608 - no more than a constant of this file


async def enqueue(session: WriteSession, message: JobMessage, *, run_at: datetime | None = None) -> int:
    """Accept one job in the caller's transaction; returns its id. It never runs if the transaction rolls back.

    When a live job has the message's `unique_key` already, nothing is added and that job's id is returned.
    """
    cause, key = current_cause(), message.unique_key()
    added = await session.carry_out(
        _ACCEPT_ONE,
        message.name,
        message.queue,
        message.priority,
        key,
        message.model_dump_json(),
        message.retry.max_attempts,
        run_at,
        cause.user_id,
        cause.request_id,
        cause.traceparent,
    )
    if run_at is None:
        session.after_commit(wake_relay)
    if added:
        return int(added[0][0])
    row = _row(message, run_at)
    return (await _insert_unique(session, {_pair(row): row}))[_pair(row)]


async def enqueue_many(
    session: WriteSession, messages: Sequence[JobMessage], *, run_at: datetime | None = None
) -> list[int]:
    """Accept several jobs at once; returns their ids in the order of `messages`, as `enqueue` does."""
    if len(messages) == 1:
        return [await enqueue(session, messages[0], run_at=run_at)]
    rows = [_row(message, run_at) for message in messages]
    plain = iter(await _insert(session, [row for row in rows if row["unique_key"] is None]))
    keyed = await _insert_unique(session, {_pair(row): row for row in rows if row["unique_key"] is not None})
    if rows and run_at is None:
        session.after_commit(wake_relay)
    return [keyed[_pair(row)] if row["unique_key"] is not None else next(plain) for row in rows]


def _row(message: JobMessage, run_at: datetime | None) -> dict[str, Any]:
    cause = current_cause()
    row = {
        "name": message.name,
        "queue": message.queue,
        "priority": message.priority,
        "unique_key": message.unique_key(),
        "payload": message.model_dump(mode="json"),
        "max_attempts": message.retry.max_attempts,
        "created_by": cause.user_id,
        "request_id": cause.request_id,
        "traceparent": cause.traceparent,
    }
    return row | ({"run_at": run_at} if run_at else {})


def _pair(row: dict[str, Any]) -> tuple[str, str]:
    return row["name"], row["unique_key"]


async def _insert(session: WriteSession, rows: Sequence[dict[str, Any]]) -> list[int]:
    if not rows:
        return []
    ids = Base.metadata.tables["jobs"].c.id
    insertion = insert(ids.table).returning(ids, sort_by_parameter_order=True)
    return [row.id for row in (await session.execute(insertion, rows)).all()]


async def _insert_unique(
    session: WriteSession, rows: dict[tuple[str, str], dict[str, Any]]
) -> dict[tuple[str, str], int]:
    """Insert what has no live twin, and find the twins of the others; ids by name and key.

    A twin may end between the two statements: then the insertion is tried again.
    """
    jobs = Base.metadata.tables["jobs"]
    pair = tuple_(jobs.c.name, jobs.c.unique_key)
    ids: dict[tuple[str, str], int] = {}
    # In one order for all, so that two transactions never wait for each other's keys.
    while missing := sorted(rows.keys() - ids.keys())[:UNIQUE_BATCH]:
        insertion = (
            upsert(jobs)
            .on_conflict_do_nothing(index_elements=["name", "unique_key"], index_where=text(UNIQUE_WHILE))
            .returning(jobs.c.name, jobs.c.unique_key, jobs.c.id)
        )
        found = (await session.execute(insertion, [rows[one] for one in missing])).all()
        if len(found) < len(missing):
            twins = select(jobs.c.name, jobs.c.unique_key, jobs.c.id).where(pair.in_(missing), jobs.c.status.in_(LIVE))
            found = (await session.execute(twins)).all()
        ids |= {(name, key): job_id for name, key, job_id in found}
    return ids
