"""Bodies of the mail jobs."""

from typing import Any

from app.schemas.messages.mails import (
    SendAccountExistsMail,
    SendAppointmentMail,
    SendEndpointDisabledMail,
    SendVerificationMail,
)
from app.services.mails import MailService
from app.tasks.attempt import Attempt, Bodies


def mail_bodies(mails: MailService) -> Bodies:
    async def verification(message: SendVerificationMail, attempt: Attempt) -> Any:
        return await mails.send_verification(message, job_key=attempt.job_key)

    async def account_exists(message: SendAccountExistsMail, attempt: Attempt) -> Any:
        return await mails.send_account_exists(message, job_key=attempt.job_key)

    async def appointment(message: SendAppointmentMail, attempt: Attempt) -> Any:
        return await mails.send_appointment(message, job_key=attempt.job_key)

    async def endpoint_disabled(message: SendEndpointDisabledMail, attempt: Attempt) -> Any:
        return await mails.send_endpoint_disabled(message, job_key=attempt.job_key)

    return {
        SendVerificationMail: verification,
        SendAccountExistsMail: account_exists,
        SendAppointmentMail: appointment,
        SendEndpointDisabledMail: endpoint_disabled,
    }
