"""Booking, moving and ending appointments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.exc import IntegrityError

from app.core.audit import audit
from app.core.database import AnyRow, ReadSession, WriteSession, constraint_of, lock_number, take_turns
from app.core.enums import AppointmentStatus
from app.core.errors import Forbidden, Invalid, InvalidTransition, NotFound, OutsideHours, SlotTaken, TooManyBooked
from app.core.etag import check_if_match, version_tag
from app.core.events import record
from app.core.jobs import enqueue_many
from app.core.listing import Page, PageQuery
from app.crud.appointments import appointments
from app.crud.base import Where
from app.crud.doctors import doctors
from app.crud.users import users
from app.models import Appointment
from app.models.appointment import NO_OVERLAP
from app.schemas.appointments import AppointmentCreate
from app.schemas.events import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentCompleted,
    AppointmentEvent,
    AppointmentRescheduled,
)
from app.schemas.messages.mails import AppointmentMail, SendAppointmentMail
from app.services.calendar import Span, slot_at
from app.services.principal import Principal

REMINDER_AHEAD = timedelta(hours=24)
_EVENTS: Mapping[AppointmentStatus, type[AppointmentEvent]] = {
    AppointmentStatus.CANCELLED: AppointmentCancelled,
    AppointmentStatus.COMPLETED: AppointmentCompleted,
}


@dataclass(frozen=True, slots=True)
class AppointmentService:
    """`max_booked` is how many to come a client may have made; 0: any number."""

    zone: ZoneInfo
    max_booked: int = 0

    async def page(self, read: ReadSession, *, principal: Principal, query: PageQuery) -> Page:
        """A client's own appointments; all of them for an admin."""
        return await appointments.page(read, query, where=self._visible(principal))

    async def get(self, read: ReadSession, *, principal: Principal, appointment_id: int) -> AnyRow:
        appointment = await appointments.get(read, appointment_id, where=self._visible(principal))
        if appointment is None:
            raise NotFound
        return appointment

    async def book(self, session: WriteSession, *, principal: Principal, data: AppointmentCreate) -> Appointment:
        """Take a slot. OutsideHours when the doctor offers none there, SlotTaken when somebody was faster,
        TooManyBooked for a client who has enough."""
        patient_id = await self._patient(session, principal, data.patient_id)
        await self._bound(session, principal)
        starts_at, ends_at = await self._slot(session, doctor_id=data.doctor_id, starts_at=data.starts_at)
        appointment = Appointment(
            doctor_id=data.doctor_id,
            patient_id=patient_id,
            starts_at=starts_at,
            ends_at=ends_at,
            reason=data.reason,
            reminded_at=self._reminded(starts_at),
        )
        session.add(appointment)
        await self._flush(session)
        record(session, AppointmentBooked.model_validate(appointment))
        await self._note(session, principal, appointment, "booked", {"starts_at": starts_at})
        return appointment

    async def move(
        self,
        session: WriteSession,
        *,
        principal: Principal,
        appointment_id: int,
        starts_at: datetime,
        if_match: str | None,
    ) -> Appointment:
        """Take another slot of the same doctor in exchange."""
        appointment = await self._locked(session, principal, appointment_id, if_match)
        if appointment.status is not AppointmentStatus.BOOKED:
            raise InvalidTransition
        if appointment.starts_at == starts_at:
            return appointment
        before = appointment.starts_at
        start, end = await self._slot(
            session, doctor_id=appointment.doctor_id, starts_at=starts_at, other_than=appointment.id
        )
        appointment.starts_at, appointment.ends_at = start, end
        appointment.reminded_at = self._reminded(start)
        appointment.version += 1
        await self._flush(session)
        record(session, AppointmentRescheduled.model_validate(appointment))
        changes = {"starts_at": {"from": before, "to": start}}
        await self._note(session, principal, appointment, "rescheduled", changes)
        return appointment

    async def end(
        self,
        session: WriteSession,
        *,
        principal: Principal,
        appointment_id: int,
        status: AppointmentStatus,
        if_match: str | None,
    ) -> Appointment:
        """Cancel, complete or note a no-show; the last two are the staff's to say."""
        appointment = await self._locked(session, principal, appointment_id, if_match)
        if status is not AppointmentStatus.CANCELLED and not principal.is_admin:
            raise Forbidden
        if appointment.status is not AppointmentStatus.BOOKED:
            raise InvalidTransition(f"The appointment is {appointment.status.value} already.")
        await appointments.patch(session, appointment, {"status": status})
        if event := _EVENTS.get(status):
            record(session, event.model_validate(appointment))
        await self._note(session, principal, appointment, status.value, {})
        return appointment

    async def send_due_reminders(self, session: WriteSession, *, limit: int = 500) -> int:
        """Enqueue a reminder for every appointment that starts within 24 h and has none yet; returns how many."""
        due = await appointments.take_due_reminders(session, ahead=REMINDER_AHEAD, limit=limit)
        await enqueue_many(
            session,
            [
                SendAppointmentMail(appointment_id=row.id, kind=AppointmentMail.REMINDER, starts_at=row.starts_at)
                for row in due
            ],
        )
        return len(due)

    @staticmethod
    async def _note(
        session: WriteSession, principal: Principal, appointment: Appointment, verb: str, changes: dict[str, Any]
    ) -> None:
        # What patients do with their own appointments is no affair of the audit.
        if principal.id == appointment.patient_id:
            return
        whose = {"doctor_id": appointment.doctor_id, "patient_id": appointment.patient_id}
        await audit(
            session,
            action=f"appointment.{verb}",
            object_type="appointment",
            object_id=appointment.id,
            changes=whose | changes,
        )

    @staticmethod
    def _visible(principal: Principal) -> Where:
        return () if principal.is_admin else appointments.of_patient(principal.id)

    @staticmethod
    def _reminded(starts_at: datetime) -> datetime | None:
        # Booked within the reminder's lead: the booking mail is reminder enough.
        now = datetime.now(UTC)
        return now if starts_at - now <= REMINDER_AHEAD else None

    async def _patient(self, session: WriteSession, principal: Principal, patient_id: int | None) -> int:
        if not principal.is_admin:
            if patient_id not in (None, principal.id):
                raise Forbidden("You may book for yourself only.")
            return principal.id
        if patient_id is None:
            raise Invalid("an admin names the patient", loc=("body", "patient_id"), kind="missing")
        if patient_id != principal.id and not await users.exists(session, patient_id):
            raise NotFound("There is no such patient.")
        return patient_id

    async def _bound(self, session: WriteSession, principal: Principal) -> None:
        if principal.is_admin or not self.max_booked:
            return
        # One after the other, or as many as are on their way at once would each find room.
        await take_turns(session, lock_number(f"bookings of {principal.id}"))
        if await appointments.to_come(session, principal.id) >= self.max_booked:
            raise TooManyBooked

    async def _slot(
        self, session: WriteSession, *, doctor_id: int, starts_at: datetime, other_than: int | None = None
    ) -> Span:
        if starts_at <= datetime.now(UTC):
            raise Invalid("must be in the future", loc=("body", "starts_at"))
        found = await doctors.lock_for_booking(session, doctor_id, starts_at=starts_at)
        if found is None:
            raise NotFound("There is no such doctor.")
        doctor, away = found
        slot = slot_at(doctor.hours, doctor.slot_minutes, starts_at, self.zone) if doctor.is_active else None
        if slot is not None and not away:
            return slot
        # A time between two slots that cuts into somebody's appointment is taken, whatever else it is.
        end = starts_at + timedelta(minutes=doctor.slot_minutes)
        if await appointments.overlaps(session, doctor_id=doctor_id, start=starts_at, end=end, other_than=other_than):
            raise SlotTaken
        raise OutsideHours

    async def _locked(
        self, session: WriteSession, principal: Principal, appointment_id: int, if_match: str | None
    ) -> Appointment:
        appointment = await appointments.lock(session, appointment_id, where=self._visible(principal))
        if appointment is None:
            raise NotFound
        check_if_match(if_match, version_tag(appointment.version))
        if not principal.is_admin and appointment.starts_at <= datetime.now(UTC):
            raise Forbidden("The appointment has begun; ask the clinic.")
        return appointment

    @staticmethod
    async def _flush(session: WriteSession) -> None:
        try:
            await session.flush()
        except IntegrityError as error:
            if constraint_of(error) == NO_OVERLAP:
                raise SlotTaken from None
            raise
