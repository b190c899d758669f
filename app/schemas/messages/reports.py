"""What a report job is told."""

from datetime import date
from typing import ClassVar

from app.core.jobs import JobMessage, Queue, Retry
from app.schemas.reports import ReportFormat


class DrawReport(JobMessage):
    """What the reports have in common."""

    queue: ClassVar[Queue] = Queue.CPU
    retry: ClassVar[Retry] = Retry(max_attempts=3)
    timeout: ClassVar[float] = 300
    for_staff: ClassVar[bool] = True
    from_day: date
    to_day: date
    format: ReportFormat


class DrawUtilisationReport(DrawReport):
    name: ClassVar[str] = "report.utilisation"


class DrawRevenueReport(DrawReport):
    name: ClassVar[str] = "report.revenue"
