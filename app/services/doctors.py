"""Doctors, the hours they publish and the slots that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.core.audit import audit, difference
from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.errors import DoctorHasAppointments, Invalid, NotFound
from app.core.etag import check_if_match, version_tag
from app.core.listing import Page, PageQuery
from app.crud.doctors import doctors
from app.models import Doctor, TimeOff
from app.schemas.base import EARLIEST, LATEST
from app.schemas.doctors import DoctorCreate, DoctorUpdate, TimeOffCreate, WorkingHours
from app.services.calendar import Span, day_bounds, free, moment, open_spans, slots
from app.services.principal import Principal, require_admin


@dataclass(frozen=True, slots=True)
class DoctorService:
    zone: ZoneInfo

    async def page(self, read: ReadSession, *, query: PageQuery) -> Page:
        return await doctors.page(read, query)

    async def get(self, read: ReadSession, *, doctor_id: int) -> AnyRow:
        doctor = await doctors.get(read, doctor_id)
        if doctor is None:
            raise NotFound
        return doctor

    async def create(self, session: WriteSession, *, principal: Principal, data: DoctorCreate) -> Doctor:
        require_admin(principal)
        doctor = await doctors.add(session, Doctor(**data.model_dump(), hours=[]))
        await audit(
            session,
            action="doctor.created",
            object_type="doctor",
            object_id=doctor.id,
            changes=data.model_dump(mode="json"),
        )
        return doctor

    async def update(
        self, session: WriteSession, *, principal: Principal, doctor_id: int, data: DoctorUpdate, if_match: str | None
    ) -> Doctor:
        doctor = await self._locked(session, principal, doctor_id, if_match)
        return await self._change(session, doctor, "doctor.updated", data.model_dump(exclude_unset=True))

    async def set_hours(
        self,
        session: WriteSession,
        *,
        principal: Principal,
        doctor_id: int,
        hours: Sequence[WorkingHours],
        if_match: str | None,
    ) -> Doctor:
        """Replace the published week. Appointments already booked stay as they are."""
        doctor = await self._locked(session, principal, doctor_id, if_match)
        return await self._change(session, doctor, "doctor.hours_set", {"hours": [one.model_dump() for one in hours]})

    async def delete(
        self, session: WriteSession, *, principal: Principal, doctor_id: int, if_match: str | None
    ) -> None:
        """Take a doctor out of sight; DoctorHasAppointments while some are still to come."""
        doctor = await self._locked(session, principal, doctor_id, if_match)
        if await doctors.has_future_appointments(session, doctor_id):
            raise DoctorHasAppointments
        await doctors.soft_delete(session, doctor)
        await audit(session, action="doctor.deleted", object_type="doctor", object_id=doctor.id)

    async def slots(self, read: ReadSession, *, doctor_id: int, from_day: date, to_day: date) -> list[Span]:
        """Free slots that start in the future, on local days [from_day, to_day)."""
        doctor = await self.get(read, doctor_id=doctor_id)
        if not doctor.is_active:
            return []
        start, end = day_bounds(from_day, to_day, self.zone)
        taken = await doctors.taken(read, doctor_id, start=start, end=end)
        now = datetime.now(UTC)
        offered = slots(open_spans(doctor.hours, from_day, to_day, self.zone), doctor.slot_minutes)
        return list(free((slot for slot in offered if slot[0] > now), taken))

    async def time_off(self, read: ReadSession, *, principal: Principal, doctor_id: int) -> Sequence[AnyRow]:
        require_admin(principal)
        await self.get(read, doctor_id=doctor_id)
        return await doctors.time_off(read, doctor_id)

    async def one_time_off(
        self, read: ReadSession, *, principal: Principal, doctor_id: int, time_off_id: int
    ) -> AnyRow:
        require_admin(principal)
        away = await doctors.one_time_off(read, doctor_id, time_off_id)
        if away is None:
            raise NotFound
        return away

    async def add_time_off(
        self, session: WriteSession, *, principal: Principal, doctor_id: int, data: TimeOffCreate
    ) -> TimeOff:
        """Offer no slots in a span; appointments already booked in it stay."""
        await self._locked(session, principal, doctor_id, None)
        starts_at, ends_at = self._local(data.starts_at, "starts_at"), self._local(data.ends_at, "ends_at")
        if starts_at >= ends_at:
            raise Invalid("must be after starts_at", loc=("body", "ends_at"))
        away = TimeOff(doctor_id=doctor_id, starts_at=starts_at, ends_at=ends_at, reason=data.reason)
        session.add(away)
        await session.flush()
        await audit(
            session,
            action="time_off.created",
            object_type="time_off",
            object_id=away.id,
            changes={"doctor_id": doctor_id, "starts_at": starts_at, "ends_at": ends_at},
        )
        return away

    async def delete_time_off(
        self,
        session: WriteSession,
        *,
        principal: Principal,
        doctor_id: int,
        time_off_id: int,
        if_match: str | None,
    ) -> None:
        require_admin(principal)
        if not await doctors.delete_time_off(session, doctor_id=doctor_id, time_off_id=time_off_id):
            raise NotFound
        check_if_match(if_match, version_tag(TimeOff.version))
        await audit(
            session,
            action="time_off.deleted",
            object_type="time_off",
            object_id=time_off_id,
            changes={"doctor_id": doctor_id},
        )

    @staticmethod
    async def _change(session: WriteSession, doctor: Doctor, action: str, changes: Mapping[str, Any]) -> Doctor:
        if made := difference(doctor, changes):
            await audit(session, action=action, object_type="doctor", object_id=doctor.id, changes=made)
        return await doctors.patch(session, doctor, changes)

    def _local(self, value: datetime, field: str) -> datetime:
        try:
            at = value.astimezone(UTC) if value.tzinfo else moment(value, self.zone)
        except OverflowError:
            at = LATEST
        if not EARLIEST <= at < LATEST:
            raise Invalid(f"must be from {EARLIEST.year} on and before {LATEST.year}", loc=("body", field))
        return at

    async def _locked(
        self, session: WriteSession, principal: Principal, doctor_id: int, if_match: str | None
    ) -> Doctor:
        require_admin(principal)
        doctor = await doctors.lock(session, doctor_id)
        if doctor is None:
            raise NotFound
        check_if_match(if_match, version_tag(doctor.version))
        return doctor
