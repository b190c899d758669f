"""What a report job is told."""

from datetime import date
from typing import ClassVar

from app.core.jobs import JobMessage, Queue, Retry
from app.schemas.reports import ReportFormat


class DrawUtilisationReport(JobMessage):
    name: ClassVar[str] = "report.utilisation"
    queue: ClassVar[Queue] = Queue.CPU
    retry: ClassVar[Retry] = Retry(max_attempts=3)
    timeout: ClassVar[float] = 300
    from_day: date
    to_day: date
    format: ReportFormat
