"""What the service says by mail.

Each method is one attempt. The Message-ID is made of the job's key: the same for every attempt, and no other job's.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from app.config import Settings
from app.core.database import AnyRow, Database
from app.core.enums import AppointmentStatus, TokenPurpose
from app.core.jobs import JobFailed
from app.core.money import say_money
from app.core.opaque_tokens import OpaqueTokens
from app.core.quota import Quota
from app.crud.appointments import appointments
from app.crud.auth_sessions import auth_sessions
from app.crud.orders import orders
from app.crud.personal_data import ERASED_HOST
from app.crud.users import users
from app.crud.webhook_endpoints import webhook_endpoints
from app.emails.render import render
from app.integrations.mail import Mailer
from app.integrations.mail_message import Mail, MailRejected, parse_mailbox
from app.schemas.messages.mails import (
    AppointmentMail,
    SendAccountExistsMail,
    SendAppointmentMail,
    SendEndpointDisabledMail,
    SendVerificationMail,
)
from app.schemas.messages.orders import SendOrderMail

MAILS_WITHIN, MAX_MAILS = timedelta(hours=1), 5
"""Mails of one kind about one account that a stranger can cause: more are not sent, whoever asks for them."""
ENOUGH = "enough mails of this kind were sent within the hour"


def called(user: AnyRow, *, at: str) -> str | None:
    """The name in the greeting of a mail about an account. None until the address is known to be theirs: a stranger may
    have typed both, and would have us send their words to anybody."""
    return user.full_name if user.email_verified and user.email == at else None


@dataclass(frozen=True, slots=True)
class MailService:
    settings: Settings
    database: Database
    mailer: Mailer
    opaque_tokens: OpaqueTokens
    quota: Quota

    async def send_verification(self, message: SendVerificationMail, *, job_key: str) -> dict[str, str]:
        """Mail a link that verifies the address. The token is derived from the job, so it is never stored plain."""
        user = await users.get(self.database.read, message.user_id)
        if user is None or user.email_verified:
            return {"skipped": "the account is gone or verified"}
        if not await self.quota.grants(f"{message.name}/{user.id}", job_key):
            return {"skipped": ENOUGH}
        token = self.opaque_tokens.derive(TokenPurpose.VERIFY_EMAIL.value, job_key)
        hours = self.settings.auth.verification_hours
        async with self.database.session_scope() as session:
            await auth_sessions.add_one_time_token(
                session,
                user_id=user.id,
                purpose=TokenPurpose.VERIFY_EMAIL,
                token_hash=self.opaque_tokens.digest(token),
                expires_at=datetime.now(UTC) + timedelta(hours=hours),
            )
        context: dict[str, object] = {
            "full_name": called(user, at=user.email),
            "link": f"{self.settings.base_url}/verify-email#token={token}",
            "token": token,
            "expires_hours": hours,
        }
        return await self.send(user.email, "verify_email", context, job_key)

    async def send_account_exists(self, message: SendAccountExistsMail, *, job_key: str) -> dict[str, str]:
        user = await users.get(self.database.read, message.user_id)
        if user is None:
            return {"skipped": "the account is gone"}
        if not await self.quota.grants(f"{message.name}/{user.id}", job_key):
            return {"skipped": ENOUGH}
        context: dict[str, object] = {
            "full_name": called(user, at=user.email),
            "sign_in_link": self.settings.base_url,
        }
        return await self.send(user.email, "account_exists", context, job_key)

    async def send_endpoint_disabled(self, message: SendEndpointDisabledMail, *, job_key: str) -> dict[str, str]:
        """Tell its owner that an endpoint gets no more webhooks, unless it was turned on again or deleted since."""
        endpoint = await webhook_endpoints.get(self.database.read, message.endpoint_id)
        owner = await users.get(self.database.read, endpoint.created_by) if endpoint is not None else None
        if endpoint is None or owner is None or endpoint.is_active:
            return {"skipped": "the endpoint is on again, or it or its owner are gone"}
        reasons = {"gone": "it answered that it is gone (410)", "failing": "nothing has succeeded for three days"}
        context = {
            "full_name": owner.full_name,
            "host": urlsplit(endpoint.url).netloc,
            "endpoint_id": endpoint.id,
            "reason": reasons.get(endpoint.disabled_reason, "an administrator turned it off"),
        }
        return await self.send(owner.email, "webhook_endpoint_disabled", context, job_key)

    async def send_appointment(self, message: SendAppointmentMail, *, job_key: str) -> dict[str, str]:
        """Tell the patient what became of an appointment; a reminder that time has overtaken is not sent."""
        found = await appointments.for_mail(self.database.read, message.appointment_id)
        if found is None:
            raise JobFailed("the appointment is gone")
        overtaken = found.status is not AppointmentStatus.BOOKED or found.starts_at != message.starts_at
        if message.kind is AppointmentMail.REMINDER and overtaken:
            return {"skipped": "the appointment was moved or ended"}
        context = {
            "patient_name": found.patient_name,
            "doctor_name": found.doctor_name,
            "specialty": found.specialty,
            "starts_at_local": self._local(message.starts_at),
            "timezone": self.settings.clinic.timezone,
            "appointment_id": found.id,
        }
        return await self.send(found.email, f"appointment_{message.kind.value}", context, job_key)

    async def send_order(self, message: SendOrderMail, *, job_key: str) -> dict[str, str]:
        """Tell the patient what became of an order."""
        found = await orders.for_mail(self.database.read, message.order_id)
        if found is None:
            raise JobFailed("the order is gone")
        items = (f"{one['quantity']} x {one['name']} ({say_money(**one['price'])} each)" for one in found.items)
        context = {
            "patient_name": found.patient_name,
            "items": ", ".join(items),
            "total": say_money(found.total_amount, found.currency),
            "expires_at_local": self._local(found.expires_at),
            "timezone": self.settings.clinic.timezone,
            "order_id": found.id,
        }
        return await self.send(found.email, f"order_{message.kind.value}", context, job_key)

    def _local(self, moment: datetime) -> str:
        local = moment.astimezone(self.settings.clinic.zone)
        return f"{local:%A}, {local.day} {local:%B %Y at %H:%M}"

    async def send(self, to: str, template: str, context: dict[str, object], job_key: str) -> dict[str, str]:
        """Fill the template and send it under the job's Message-ID."""
        if to.endswith(f"@{ERASED_HOST}"):
            return {"skipped": "the account was erased"}
        words = render(template, context | {"clinic_name": self.settings.clinic.name})
        message_id = f"<{job_key}@{parse_mailbox(self.settings.mail.sender).domain}>"
        try:
            await self.mailer.send(
                Mail(to=to, subject=words.subject, text=words.text, html=words.html, message_id=message_id)
            )
        except MailRejected as error:
            raise JobFailed(str(error)) from error
        return {"message_id": message_id}
