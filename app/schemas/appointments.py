"""Appointments on the wire."""

from datetime import datetime

from pydantic import Field

from app.core.enums import AppointmentStatus
from app.core.listing import EQUALITY, ORDER, Filterable, Listing
from app.schemas.base import BodyId, Id, In, Instant, LongText, Out

APPOINTMENTS = Listing(
    "appointments",
    filters={
        "doctor_id": Filterable(Id, ORDER),
        "patient_id": Filterable(Id, ORDER),
        "status": Filterable(AppointmentStatus, EQUALITY),
        "starts_at": Filterable(Instant, ORDER),
    },
    sorts={"id": Id, "starts_at": Instant},
)


class AppointmentRead(Out):
    id: int
    doctor_id: int
    patient_id: int
    starts_at: datetime
    ends_at: datetime
    status: AppointmentStatus
    reason: str | None
    created_at: datetime


class AppointmentCreate(In):
    """A client books for themselves; an admin names the patient."""

    doctor_id: BodyId
    starts_at: Instant
    reason: LongText | None = None
    patient_id: BodyId | None = Field(default=None, description="admins only")


class AppointmentMove(In):
    starts_at: Instant
