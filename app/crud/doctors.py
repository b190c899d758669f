"""Doctors and their time off."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import DateTime, bindparam, delete, exists, func, literal, select

from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import AppointmentStatus
from app.crud.base import CRUDBase
from app.models import Appointment, Doctor, TimeOff

# Made once: every booking asks it.
_AT = bindparam("at", type_=DateTime(timezone=True))
_AWAY = exists().where(
    TimeOff.doctor_id == Doctor.id,
    TimeOff.starts_at < _AT + Doctor.slot_minutes * literal(timedelta(minutes=1)),
    TimeOff.ends_at > _AT,
)
_FOR_BOOKING = (
    select(Doctor, _AWAY)
    .where(Doctor.id == bindparam("doctor_id"), Doctor.deleted_at.is_(None))
    .with_for_update(key_share=True, of=Doctor)
)


class DoctorCRUD(CRUDBase[Doctor]):
    async def has_future_appointments(self, session: WriteSession, doctor_id: int) -> bool:
        booked = exists().where(
            Appointment.doctor_id == doctor_id,
            Appointment.status == AppointmentStatus.BOOKED,
            Appointment.starts_at > func.now(),
        )
        return bool((await session.execute(select(booked))).scalar_one())

    async def lock_for_booking(
        self, session: WriteSession, doctor_id: int, *, starts_at: datetime
    ) -> tuple[Doctor, bool] | None:
        """The bookable doctor, locked so that bookings of one doctor follow each other, and whether they are away at
        `starts_at` or within the slot that starts there."""
        row = (await session.execute(_FOR_BOOKING, {"doctor_id": doctor_id, "at": starts_at})).first()
        return (row[0], bool(row[1])) if row else None

    async def taken(
        self, read: ReadSession, doctor_id: int, *, start: datetime, end: datetime
    ) -> list[tuple[datetime, datetime]]:
        """Spans within [start, end) in which the doctor is away or has a live appointment, unordered."""
        live = (AppointmentStatus.BOOKED, AppointmentStatus.COMPLETED)
        appointments = select(Appointment.starts_at, Appointment.ends_at).where(
            Appointment.doctor_id == doctor_id,
            Appointment.status.in_(live),
            # No appointment is longer than a day: this bound lets the index on starts_at serve.
            Appointment.starts_at > start - timedelta(days=1),
            Appointment.starts_at < end,
        )
        away = select(TimeOff.starts_at, TimeOff.ends_at).where(
            TimeOff.doctor_id == doctor_id, TimeOff.ends_at > start, TimeOff.starts_at < end
        )
        union = appointments.union_all(away).subquery()
        return [(row[0], row[1]) for row in await read.all(select(union))]

    async def time_off(self, read: ReadSession, doctor_id: int) -> Sequence[AnyRow]:
        """The doctor's present and coming absences, at most 500, soonest first."""
        statement = select(TimeOff.__table__).where(TimeOff.doctor_id == doctor_id, TimeOff.ends_at > func.now())
        return await read.all(statement.order_by(TimeOff.starts_at).limit(500))

    async def one_time_off(self, read: ReadSession, doctor_id: int, time_off_id: int) -> AnyRow | None:
        """One absence, past or to come, of a doctor who is not deleted."""
        statement = select(TimeOff.__table__).where(TimeOff.id == time_off_id, TimeOff.doctor_id == doctor_id)
        return await read.first(statement.join(Doctor).where(*self.live()))

    async def delete_time_off(self, session: WriteSession, *, doctor_id: int, time_off_id: int) -> bool:
        statement = delete(TimeOff).where(TimeOff.id == time_off_id, TimeOff.doctor_id == doctor_id)
        return (await session.execute(statement.returning(TimeOff.id))).first() is not None


doctors = DoctorCRUD(Doctor)
