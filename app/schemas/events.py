"""What happens in the clinic: the domain events, named and filled as partners get them."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from app.core.enums import AppointmentStatus, OrderStatus, Role
from app.core.events import Event
from app.schemas.money import Money


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


class OrderEvent(Event):
    object_type: ClassVar[str] = "order"
    patient_id: int
    status: OrderStatus
    total: Money


class OrderPaid(OrderEvent):
    name: ClassVar[str] = "order.paid"


class CancelReason(StrEnum):
    REQUESTED = "requested"
    NOT_PAID_IN_TIME = "not_paid_in_time"


class OrderCancelled(OrderEvent):
    name: ClassVar[str] = "order.cancelled"
    reason: CancelReason
