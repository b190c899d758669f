"""Mails that follow from domain events."""

from collections.abc import Mapping

from app.core.database import WriteSession
from app.core.jobs import enqueue
from app.schemas.events import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentEvent,
    AppointmentRescheduled,
    UserRegistered,
)
from app.schemas.messages.mails import AppointmentMail, SendAppointmentMail, SendVerificationMail

_KINDS: Mapping[type[AppointmentEvent], AppointmentMail] = {
    AppointmentBooked: AppointmentMail.BOOKED,
    AppointmentRescheduled: AppointmentMail.RESCHEDULED,
    AppointmentCancelled: AppointmentMail.CANCELLED,
}


async def mail_patient(session: WriteSession, event: AppointmentEvent) -> None:
    """Tell the patient what became of the appointment."""
    kind = _KINDS[type(event)]
    await enqueue(session, SendAppointmentMail(appointment_id=event.id, kind=kind, starts_at=event.starts_at))


async def mail_verification(session: WriteSession, event: UserRegistered) -> None:
    """Ask the owner of a new account to verify the address."""
    await enqueue(session, SendVerificationMail(user_id=event.id))
