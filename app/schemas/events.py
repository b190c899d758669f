"""What happens in the clinic: the domain events, named and filled as partners get them."""

from datetime import datetime
from typing import ClassVar

from app.core.enums import AppointmentStatus, Role
from app.core.events import Event


class AppointmentEvent(Event):
    """Without the patient's reason: that is between them and the clinic."""

    object_type: ClassVar[str] = "appointment"
    doctor_id: int
    patient_id: int
    starts_at: datetime
    ends_at: datetime
    status: AppointmentStatus


class AppointmentBooked(AppointmentEvent):
    name: ClassVar[str] = "appointment.booked"


class AppointmentRescheduled(AppointmentEvent):
    name: ClassVar[str] = "appointment.rescheduled"


class AppointmentCancelled(AppointmentEvent):
    name: ClassVar[str] = "appointment.cancelled"


class AppointmentCompleted(AppointmentEvent):
    name: ClassVar[str] = "appointment.completed"


class UserRegistered(Event):
    """There is a new account, made by its owner or by an admin."""

    name: ClassVar[str] = "user.registered"
    object_type: ClassVar[str] = "user"
    email: str
    full_name: str
    role: Role
