"""Bodies of the mails about accounts."""

from typing import Any

from app.schemas.messages.accounts import SendAccountNotice, SendEmailChangeMail, SendPasswordResetMail
from app.services.account_mails import AccountMailService
from app.tasks.attempt import Attempt, Bodies


def account_bodies(mails: AccountMailService) -> Bodies:
    async def reset(message: SendPasswordResetMail, attempt: Attempt) -> Any:
        return await mails.send_reset(message, job_key=attempt.job_key)

    async def change(message: SendEmailChangeMail, attempt: Attempt) -> Any:
        return await mails.send_email_change(message, job_key=attempt.job_key)

    async def notice(message: SendAccountNotice, attempt: Attempt) -> Any:
        return await mails.send_notice(message, job_key=attempt.job_key)

    return {SendPasswordResetMail: reset, SendEmailChangeMail: change, SendAccountNotice: notice}
