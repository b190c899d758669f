"""The ledger of accepted work (decision 2)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.jobs import UNIQUE_WHILE, JobStatus, Queue
from app.models.base import Created, WithId, enum_column, one_of

UNIQUE_KEY = "uq_jobs_unique_key"


class Job(WithId, Created, Base):
    """One piece of accepted work. `lease_token` is new for every attempt and fences the one before.

    `traceparent` is the span that caused it, `attempt_traceparent` that of the last attempt that failed.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(one_of("status", JobStatus), name="status"),
        CheckConstraint(one_of("queue", Queue), name="queue"),
        CheckConstraint("(status = 'running') = (lease_token IS NOT NULL)", name="lease"),
        Index(
            "ix_jobs_due",
            text("priority DESC"),
            "run_at",
            "id",
            postgresql_where=text("status = 'queued' AND published_at IS NULL"),
        ),
        Index(
            "ix_jobs_published", "published_at", postgresql_where=text("status = 'queued' AND published_at IS NOT NULL")
        ),
        Index("ix_jobs_leased", "lease_expires_at", postgresql_where=text("status = 'running'")),
        Index(UNIQUE_KEY, "name", "unique_key", unique=True, postgresql_where=text(UNIQUE_WHILE)),
        # What an admin looks for: the rest of the table, by far the most of it, has succeeded.
        Index("ix_jobs_not_succeeded", "status", "id", postgresql_where=text("status <> 'succeeded'")),
        Index(None, "name", "id"),
        Index(None, "created_by", "id"),
    )

    name: Mapped[str] = mapped_column(Text)
    queue: Mapped[Queue] = mapped_column(enum_column(Queue))
    priority: Mapped[int] = mapped_column(server_default="0")
    unique_key: Mapped[str | None] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[JobStatus] = mapped_column(enum_column(JobStatus), server_default=JobStatus.QUEUED.value)
    attempt: Mapped[int] = mapped_column(server_default="0")
    max_attempts: Mapped[int]
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]
    publications: Mapped[int] = mapped_column(server_default="0")
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    progress_done: Mapped[int] = mapped_column(server_default="0")
    progress_total: Mapped[int | None]
    progress_note: Mapped[str | None] = mapped_column(Text)
    result: Mapped[Any | None] = mapped_column(JSONB)
    error: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(server_default="1")
    """Raised by every change that an onlooker may see; orders the events of one job."""
    created_by: Mapped[int | None]
    request_id: Mapped[str | None] = mapped_column(Text)
    traceparent: Mapped[str | None] = mapped_column(Text)
    attempt_traceparent: Mapped[str | None] = mapped_column(Text)
