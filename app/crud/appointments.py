"""Appointments."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import exists, func, select, update

from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import AppointmentStatus
from app.crud.base import CRUDBase, Where, one_choice
from app.models import Appointment, Doctor, User

LIVE = (AppointmentStatus.BOOKED, AppointmentStatus.COMPLETED)


class AppointmentCRUD(CRUDBase[Appointment]):
    def of_patient(self, patient_id: int) -> Where:
        return (Appointment.patient_id == patient_id,)

    async def is_of(self, session: WriteSession, appointment_id: int, *, patient_id: int) -> bool:
        """Whether there is this appointment, and it is this patient's."""
        own = self.select(Appointment.id == appointment_id, *self.of_patient(patient_id))
        return bool((await session.execute(select(own.exists()))).scalar_one())

    async def to_come(self, session: WriteSession, patient_id: int) -> int:
        """How many this patient has booked that have not begun."""
        coming = [*self.of_patient(patient_id), Appointment.status == AppointmentStatus.BOOKED]
        statement = select(func.count()).where(*coming, Appointment.starts_at > func.now())
        return int((await session.execute(statement)).scalar_one())

    async def overlaps(
        self, session: WriteSession, *, doctor_id: int, start: datetime, end: datetime, other_than: int | None = None
    ) -> bool:
        """Whether a live appointment of the doctor overlaps [start, end)."""
        conditions = [
            Appointment.doctor_id == doctor_id,
            Appointment.status.in_(LIVE),
            Appointment.starts_at < end,
            Appointment.ends_at > start,
        ]
        if other_than is not None:
            conditions.append(Appointment.id != other_than)
        return bool((await session.execute(select(exists().where(*conditions)))).scalar_one())

    async def for_mail(self, read: ReadSession, appointment_id: int) -> AnyRow | None:
        """What a mail about the appointment says."""
        return await read.first(
            select(
                Appointment.id,
                Appointment.status,
                Appointment.starts_at,
                User.email,
                User.full_name.label("patient_name"),
                Doctor.full_name.label("doctor_name"),
                Doctor.specialty,
            )
            .join(User, User.id == Appointment.patient_id)
            .join(Doctor, Doctor.id == Appointment.doctor_id)
            .where(Appointment.id == appointment_id)
        )

    async def take_due_reminders(self, session: WriteSession, *, ahead: timedelta, limit: int) -> Sequence[AnyRow]:
        """Mark and give (id, starts_at) of booked appointments that start within `ahead`; each once, to one caller."""
        due = (
            select(Appointment.id)
            .where(
                Appointment.status == AppointmentStatus.BOOKED,
                Appointment.reminded_at.is_(None),
                Appointment.starts_at > func.now(),
                Appointment.starts_at <= func.now() + ahead,
            )
            .order_by(Appointment.starts_at)
            .limit(limit)
            .with_for_update(skip_locked=True, key_share=True)
        )
        statement = (
            update(Appointment)
            .where(Appointment.id == one_choice(due))
            .values(reminded_at=func.now())
            .returning(Appointment.id, Appointment.starts_at)
        )
        return (await session.execute(statement)).all()

    async def between(self, read: ReadSession, *, start: datetime, end: datetime) -> Sequence[AnyRow]:
        """(doctor_id, status, starts_at, ends_at) of every appointment that starts in [start, end)."""
        return await read.all(
            select(Appointment.doctor_id, Appointment.status, Appointment.starts_at, Appointment.ends_at).where(
                Appointment.starts_at >= start, Appointment.starts_at < end
            )
        )


appointments = AppointmentCRUD(Appointment)
