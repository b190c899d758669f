"""Bodies of the report jobs."""

from typing import Any

from app.schemas.messages.reports import DrawUtilisationReport
from app.services.reports import ReportService
from app.tasks.attempt import Attempt, Bodies


def report_bodies(reports: ReportService) -> Bodies:
    async def utilisation(message: DrawUtilisationReport, attempt: Attempt) -> Any:
        return await reports.draw_utilisation(
            message, job_id=attempt.job_id, lease=attempt.lease, progress=attempt.progress
        )

    return {DrawUtilisationReport: utilisation}
