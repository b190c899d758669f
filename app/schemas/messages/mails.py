"""What a mail job is told."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from app.core.jobs import JobMessage


class AppointmentMail(StrEnum):
    BOOKED = "booked"
    RESCHEDULED = "rescheduled"
    CANCELLED = "cancelled"
    REMINDER = "reminder"


class SendVerificationMail(JobMessage):
    name: ClassVar[str] = "mail.verification"
    for_staff: ClassVar[bool] = True
    user_id: int


class SendAccountExistsMail(JobMessage):
    """Somebody tried to register with an address that has an account: tell its owner."""

    name: ClassVar[str] = "mail.account_exists"
    for_staff: ClassVar[bool] = True
    user_id: int


class SendEndpointDisabledMail(JobMessage):
    """Tell its owner that a webhook endpoint was turned off."""

    name: ClassVar[str] = "mail.endpoint_disabled"
    endpoint_id: int


class SendAppointmentMail(JobMessage):
    """`starts_at` is the time that the mail speaks of; a mail that time has overtaken is not sent."""

    name: ClassVar[str] = "mail.appointment"
    appointment_id: int
    kind: AppointmentMail
    starts_at: datetime
