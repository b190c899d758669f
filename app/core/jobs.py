"""Messages of the job ledger and how they get into it.

A job is a row, inserted in the transaction that caused it; what travels through Redis is its id alone (decision 2).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from sqlalchemy import insert

from app.core.context import current_cause
from app.core.database import Base, WriteSession
from app.core.wakeup import wake_relay


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


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how far apart a job is tried; delays in seconds, doubled each time, of which half is jitter."""

    max_attempts: int = 8
    base: float = 2
    cap: float = 600

    def delay(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt` (1 is the first)."""
        ceiling = min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
        return ceiling * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret


class JobMessage(BaseModel):
    """What a job is told. Unknown fields are ignored, so that a newer producer can talk to an older worker."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: ClassVar[str]
    queue: ClassVar[Queue] = Queue.IO
    retry: ClassVar[Retry] = Retry()
    timeout: ClassVar[float] = 60
    """Seconds that one attempt may take."""


class JobFailed(Exception):
    """The job can never succeed: no further attempt is made, and this reason is kept."""


async def enqueue(session: WriteSession, message: JobMessage, *, run_at: datetime | None = None) -> int:
    """Accept one job in the caller's transaction; returns its id. It never runs if the transaction rolls back."""
    return (await enqueue_many(session, [message], run_at=run_at))[0]


async def enqueue_many(
    session: WriteSession, messages: Sequence[JobMessage], *, run_at: datetime | None = None
) -> list[int]:
    """Accept several jobs in one statement; returns their ids in the order of `messages`."""
    if not messages:
        return []
    cause = current_cause()
    rows = [
        {
            "name": message.name,
            "queue": message.queue,
            "payload": message.model_dump(mode="json"),
            "max_attempts": message.retry.max_attempts,
            "created_by": cause.user_id,
            "request_id": cause.request_id,
            "traceparent": cause.traceparent,
        }
        | ({"run_at": run_at} if run_at else {})
        for message in messages
    ]
    jobs = Base.metadata.tables["jobs"]
    statement = insert(jobs).returning(jobs.c.id, sort_by_parameter_order=len(rows) > 1)
    ids = (await session.execute(statement, rows)).scalars().all()
    if run_at is None:
        session.after_commit(wake_relay)
    return list(ids)
