"""Mails about an account itself: links that reset a password or confirm an address, and notices of what has changed.

Each method is one attempt, as in `mails.py`. Tokens are derived from the job, so that they are never stored plain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.core.enums import TokenPurpose
from app.crud.one_time_tokens import one_time_tokens
from app.crud.users import users
from app.schemas.messages.accounts import Notice, SendAccountNotice, SendEmailChangeMail, SendPasswordResetMail
from app.services.mails import ENOUGH, MailService, called

_NOTICES: Mapping[Notice, str] = {
    Notice.PASSWORD_CHANGED: "Your password has been changed, and everybody who was signed in elsewhere is signed out.",
    Notice.EMAIL_CHANGE_REQUESTED: "Somebody who knows your password has asked to give your account another address.",
    Notice.EMAIL_CHANGED: "Your account has another email address now; this one no longer belongs to it.",
    Notice.MFA_ENABLED: "Signing in now takes a code of your authenticator app besides the password.",
    Notice.MFA_DISABLED: "Signing in no longer takes a code of your authenticator app.",
}


@dataclass(frozen=True, slots=True)
class AccountMailService:
    mails: MailService

    async def send_reset(self, message: SendPasswordResetMail, *, job_key: str) -> dict[str, str]:
        """Mail a link to the owner of the address, if there is one; not more than a few in an hour."""
        database = self.mails.database
        user = await users.by_email(database.read, message.email)
        if user is None or not user.is_active:
            return {"skipped": "there is no such account"}
        if not await self.mails.quota.grants(f"{message.name}/{user.id}", job_key):
            return {"skipped": ENOUGH}
        minutes = self.mails.settings.auth.reset_minutes
        token = await self._token(user.id, TokenPurpose.RESET_PASSWORD, timedelta(minutes=minutes), job_key)
        words: dict[str, object] = {"full_name": called(user, at=user.email), "expires_minutes": minutes}
        return await self._send_link(user.email, "reset_password", token, words, job_key)

    async def send_email_change(self, message: SendEmailChangeMail, *, job_key: str) -> dict[str, str]:
        """Mail a link to the new address; a taken one gets nothing."""
        database = self.mails.database
        user = await users.get(database.read, message.user_id)
        if user is None or not user.is_active:
            return {"skipped": "the account is gone"}
        if await users.by_email(database.read, message.email) is not None:
            return {"skipped": "the address has an account"}
        if not await self.mails.quota.grants(f"{message.name}/{user.id}", job_key):
            return {"skipped": ENOUGH}
        hours, purpose = self.mails.settings.auth.email_change_hours, TokenPurpose.CHANGE_EMAIL
        token = await self._token(user.id, purpose, timedelta(hours=hours), job_key, email=message.email)
        words: dict[str, object] = {"full_name": called(user, at=message.email), "expires_hours": hours}
        return await self._send_link(message.email, "confirm_email", token, words, job_key)

    async def send_notice(self, message: SendAccountNotice, *, job_key: str) -> dict[str, str]:
        user = await users.get(self.mails.database.read, message.user_id)
        if user is None:
            return {"skipped": "the account is gone"}
        context: dict[str, object] = {"full_name": called(user, at=message.to), "news": _NOTICES[message.notice]}
        return await self.mails.send(message.to, "account_notice", context, job_key)

    async def _send_link(
        self, to: str, template: str, token: str, words: dict[str, object], job_key: str
    ) -> dict[str, str]:
        """Mail a link with the token to the page that is named as the template."""
        link = f"{self.mails.settings.base_url}/{template.replace('_', '-')}#token={token}"
        return await self.mails.send(to, template, {**words, "link": link, "token": token}, job_key)

    async def _token(
        self, user_id: int, purpose: TokenPurpose, lifetime: timedelta, job_key: str, *, email: str | None = None
    ) -> str:
        """The job's token, its hash stored."""
        token = self.mails.opaque_tokens.derive(purpose.value, job_key)
        async with self.mails.database.session_scope() as session:
            await one_time_tokens.store(
                session,
                user_id=user_id,
                purpose=purpose,
                token_hash=self.mails.opaque_tokens.digest(token),
                expires_at=datetime.now(UTC) + lifetime,
                email=email,
            )
        return token
