"""Jobs on the wire, and the messages that tell a job what to do."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field

from app.core.jobs import JobMessage, JobStatus, Queue, Retry
from app.schemas.base import Out
from app.schemas.reports import ReportFormat


class Progress(Out):
    done: int
    total: int | None
    note: str | None


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
    result: Any | None = Field(description="what the job said of its outcome")
    error: str | None


class AppointmentMail(StrEnum):
    BOOKED = "booked"
    RESCHEDULED = "rescheduled"
    CANCELLED = "cancelled"
    REMINDER = "reminder"


class SendVerificationMail(JobMessage):
    name: ClassVar[str] = "mail.verification"
    user_id: int


class SendAccountExistsMail(JobMessage):
    """Somebody tried to register with an address that has an account: tell its owner."""

    name: ClassVar[str] = "mail.account_exists"
    user_id: int


class SendAppointmentMail(JobMessage):
    """`starts_at` is the time that the mail speaks of; a mail that time has overtaken is not sent."""

    name: ClassVar[str] = "mail.appointment"
    appointment_id: int
    kind: AppointmentMail
    starts_at: datetime


class DrawUtilisationReport(JobMessage):
    name: ClassVar[str] = "report.utilisation"
    queue: ClassVar[Queue] = Queue.CPU
    retry: ClassVar[Retry] = Retry(max_attempts=3)
    timeout: ClassVar[float] = 300
    from_day: date
    to_day: date
    format: ReportFormat
