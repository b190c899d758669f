"""What the utilisation report counts, aggregated by the database so that memory does not grow with the appointments."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Date, cast, func, select, tuple_

from app.core.database import AnyRow, ReadSession
from app.models import Appointment, Doctor, TimeOff


async def appointment_sums(read: ReadSession, *, start: datetime, end: datetime, timezone: str) -> Sequence[AnyRow]:
    """(doctor_id, local day, status, number, minutes) of the appointments that start in [start, end)."""
    day = cast(func.timezone(timezone, Appointment.starts_at), Date).label("day")
    minutes = func.extract("epoch", func.sum(Appointment.ends_at - Appointment.starts_at)) / 60
    return await read.all(
        select(Appointment.doctor_id, day, Appointment.status, func.count(), minutes)
        .where(Appointment.starts_at >= start, Appointment.starts_at < end)
        .group_by(Appointment.doctor_id, day, Appointment.status)
    )


async def appointments_in(
    read: ReadSession, *, start: datetime, end: datetime, after: tuple[datetime, int] | None, limit: int
) -> Sequence[AnyRow]:
    """(id, doctor_id, starts_at, ends_at, status) of the next appointments that start in [start, end), in the order of
    (starts_at, id)."""
    columns = (Appointment.id, Appointment.doctor_id, Appointment.starts_at, Appointment.ends_at, Appointment.status)
    statement = select(*columns).where(Appointment.starts_at >= start, Appointment.starts_at < end)
    if after is not None:
        statement = statement.where(tuple_(Appointment.starts_at, Appointment.id) > tuple_(*after))
    return await read.all(statement.order_by(Appointment.starts_at, Appointment.id).limit(limit))


async def doctors_in(read: ReadSession, *, start: datetime, end: datetime) -> Sequence[AnyRow]:
    """Doctors of the clinic, and deleted ones that had appointments in [start, end); by name."""
    seen = select(Appointment.doctor_id).where(Appointment.starts_at >= start, Appointment.starts_at < end)
    return await read.all(
        select(Doctor.id, Doctor.full_name, Doctor.specialty, Doctor.hours, Doctor.is_active, Doctor.deleted_at)
        .where(Doctor.deleted_at.is_(None) | Doctor.id.in_(seen))
        .order_by(Doctor.full_name, Doctor.id)
    )


async def absences(read: ReadSession, *, start: datetime, end: datetime) -> Sequence[AnyRow]:
    """(doctor_id, starts_at, ends_at) of the time off that touches [start, end)."""
    return await read.all(
        select(TimeOff.doctor_id, TimeOff.starts_at, TimeOff.ends_at).where(
            TimeOff.ends_at > start, TimeOff.starts_at < end
        )
    )
