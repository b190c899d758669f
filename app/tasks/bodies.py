"""Which service carries out which message."""

from typing import Any

from app.schemas.jobs import (
    DrawUtilisationReport,
    SendAccountExistsMail,
    SendAppointmentMail,
    SendVerificationMail,
)
from app.services.container import Container
from app.tasks.attempt import Attempt, Bodies


def bodies(container: Container) -> Bodies:
    """Every job of the service, whichever queue it runs on."""
    mails, reports = container.mails, container.reports

    async def verification(message: SendVerificationMail, attempt: Attempt) -> Any:
        return await mails.send_verification(message, job_key=attempt.job_key)

    async def account_exists(message: SendAccountExistsMail, attempt: Attempt) -> Any:
        return await mails.send_account_exists(message, job_key=attempt.job_key)

    async def appointment(message: SendAppointmentMail, attempt: Attempt) -> Any:
        return await mails.send_appointment(message, job_key=attempt.job_key)

    async def utilisation(message: DrawUtilisationReport, attempt: Attempt) -> Any:
        return await reports.draw_utilisation(message, job_id=attempt.job_id, lease=attempt.lease)

    return {
        SendVerificationMail: verification,
        SendAccountExistsMail: account_exists,
        SendAppointmentMail: appointment,
        DrawUtilisationReport: utilisation,
    }
