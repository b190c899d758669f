"""Jobs on the wire."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.core.jobs import JobStatus, Queue
from app.core.listing import EQUALITY, Filterable, Listing
from app.schemas.base import Id, Out, ShortText

JOBS = Listing(
    "jobs",
    filters={
        "name": Filterable(ShortText, EQUALITY),
        "queue": Filterable(Queue, EQUALITY),
        "status": Filterable(JobStatus, EQUALITY),
    },
    sorts={"id": Id},
)


class Progress(Out):
    done: int
    total: int | None
    note: str | None


class ScheduleRead(Out):
    name: str
    cron: str
    timezone: str
    next_run_at: datetime
    last_run_at: datetime | None
    last_job_id: int | None


class ScheduleList(Out):
    """All there are: few, and known to the code."""

    items: list[ScheduleRead]
    next_cursor: None = None


class JobRead(Out):
    id: int
    name: str
    queue: Queue
    status: JobStatus
    progress: Progress
    attempt: int
    max_attempts: int
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: Any = Field(description="what the job said of its outcome")
    error: str | None
