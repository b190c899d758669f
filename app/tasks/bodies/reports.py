"""Bodies of the report jobs."""

from typing import Any

from app.schemas.messages.reports import DrawRevenueReport, DrawUtilisationReport
from app.services.reports import ReportService
from app.services.revenue import RevenueService
from app.tasks.attempt import Attempt, Bodies


def report_bodies(reports: ReportService, revenue: RevenueService) -> Bodies:
    async def utilisation(message: DrawUtilisationReport, attempt: Attempt) -> Any:
        return await reports.draw_utilisation(
            message, job_id=attempt.job_id, lease=attempt.lease, progress=attempt.progress
        )

    async def of_revenue(message: DrawRevenueReport, attempt: Attempt) -> Any:
        return await revenue.draw(message, job_id=attempt.job_id, lease=attempt.lease, progress=attempt.progress)

    return {DrawUtilisationReport: utilisation, DrawRevenueReport: of_revenue}
