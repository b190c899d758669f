"""Reports: asked for by an admin, computed and drawn in a CPU job, kept as a file."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from app.config import ClinicSettings
from app.core.audit import audit
from app.core.database import AnyRow, Database, WriteSession
from app.core.enums import AppointmentStatus
from app.core.jobs import ReportProgress, enqueue
from app.crud import utilisation
from app.integrations.storage import Storage
from app.schemas.messages.reports import DrawReport, DrawRevenueReport, DrawUtilisationReport
from app.schemas.reports import (
    MEDIA_TYPES,
    DayUtilisation,
    DoctorUtilisation,
    ReportCreate,
    ReportFormat,
    ReportKind,
    UtilisationReport,
)
from app.services.calendar import Span, day_bounds, merge, open_spans
from app.services.principal import Principal, require_admin
from app.services.report_csv import render_utilisation_csv
from app.services.report_files import Document, written

_MESSAGES: Mapping[ReportKind, type[DrawReport]] = {
    ReportKind.UTILISATION: DrawUtilisationReport,
    ReportKind.REVENUE: DrawRevenueReport,
}
PAGE = 2000
"""Rows that are in memory at once."""
_WORKED = (AppointmentStatus.BOOKED, AppointmentStatus.COMPLETED, AppointmentStatus.NO_SHOW)


# The API accepts reports and never draws one: it does without the libraries.
def _render_pdf(report: UtilisationReport) -> bytes:
    from app.services.report_pdf import render_utilisation_pdf  # noqa: PLC0415

    return render_utilisation_pdf(report)


def _begin_workbook(path: Path, report: UtilisationReport) -> Document:
    from app.services.utilisation_xlsx import UtilisationWorkbook  # noqa: PLC0415

    return UtilisationWorkbook(path, report)


@dataclass(frozen=True, slots=True)
class ReportService:
    clinic: ClinicSettings
    database: Database
    storage: Storage

    async def request(self, session: WriteSession, *, principal: Principal, data: ReportCreate) -> int:
        """Accept the report; returns the id of the job that draws it."""
        require_admin(principal)
        message = _MESSAGES[data.kind](from_day=data.from_, to_day=data.to, format=data.format)
        job_id = await enqueue(session, message)
        asked = data.model_dump(mode="json", by_alias=True)
        await audit(session, action="report.requested", object_type="job", object_id=job_id, changes=asked)
        return job_id

    async def draw_utilisation(
        self, message: DrawUtilisationReport, *, job_id: int, lease: UUID, progress: ReportProgress
    ) -> dict[str, Any]:
        """Compute, draw and store the report; the answer says where. No transaction is open while it computes."""
        report = await self.utilisation(message.from_day, message.to_day)
        await progress(0, report.appointments, "drawing")
        # The lease is part of the name: an attempt that lost it never touches the file of its successor.
        key = f"reports/{job_id}-{lease.hex}.{message.format.value}"
        if message.format is ReportFormat.XLSX:
            pages = self._appointments(message.from_day, message.to_day, report.appointments, progress)
            async with written(lambda path: _begin_workbook(path, report), pages) as chunks:
                size = await self.storage.put(key, chunks)
        else:
            render = _render_pdf if message.format is ReportFormat.PDF else render_utilisation_csv
            # A thread, so that the lease is renewed while the document is drawn.
            size = await self.storage.put(key, await asyncio.to_thread(render, report))
        await progress(report.appointments, report.appointments)
        name = f"utilisation-{message.from_day}-{message.to_day}.{message.format.value}"
        return {"file": {"key": key, "name": name, "media_type": MEDIA_TYPES[message.format], "size": size}}

    async def _appointments(
        self, from_day: date, to_day: date, total: int, progress: ReportProgress
    ) -> AsyncIterator[Sequence[AnyRow]]:
        """Every appointment of the period, a page at a time, as of when its page is read."""
        start, end = day_bounds(from_day, to_day, self.clinic.zone)
        after, done = None, 0
        while rows := await utilisation.appointments_in(
            self.database.lists, start=start, end=end, after=after, limit=PAGE
        ):
            yield rows
            after, done = (rows[-1].starts_at, rows[-1].id), done + len(rows)
            await progress(done, max(done, total), "writing appointments")

    async def utilisation(self, from_day: date, to_day: date) -> UtilisationReport:
        read, zone = self.database.lists, self.clinic.zone
        start, end = day_bounds(from_day, to_day, zone)
        doctors = await utilisation.doctors_in(read, start=start, end=end)
        away: dict[int, list[Span]] = defaultdict(list)
        for row in await utilisation.absences(read, start=start, end=end):
            away[row.doctor_id].append((row.starts_at, row.ends_at))
        counted: dict[tuple[int, AppointmentStatus], int] = defaultdict(int)
        booked_by_doctor: dict[int, int] = defaultdict(int)
        booked_by_day: dict[date, int] = defaultdict(int)
        sums = await utilisation.appointment_sums(read, start=start, end=end, timezone=self.clinic.timezone)
        for doctor_id, day, status, number, minutes in sums:
            counted[doctor_id, status] += number
            if status in _WORKED:
                booked_by_doctor[doctor_id] += int(minutes)
                booked_by_day[day] += int(minutes)
        available_by_doctor: dict[int, int] = defaultdict(int)
        available_by_day: dict[date, int] = defaultdict(int)
        for doctor in doctors:
            if doctor.is_active and doctor.deleted_at is None:
                for day, minutes in self._available(doctor.hours, from_day, to_day, away[doctor.id]):
                    available_by_doctor[doctor.id] += minutes
                    available_by_day[day] += minutes
        return UtilisationReport(
            clinic_name=self.clinic.name,
            timezone=self.clinic.timezone,
            from_day=from_day,
            to_day=to_day,
            generated_at=datetime.now(UTC),
            doctors=[
                DoctorUtilisation(
                    doctor_id=doctor.id,
                    full_name=doctor.full_name,
                    specialty=doctor.specialty,
                    available_minutes=available_by_doctor[doctor.id],
                    booked_minutes=booked_by_doctor[doctor.id],
                    appointments=sum(counted[doctor.id, status] for status in AppointmentStatus),
                    completed=counted[doctor.id, AppointmentStatus.COMPLETED],
                    cancelled=counted[doctor.id, AppointmentStatus.CANCELLED],
                    no_show=counted[doctor.id, AppointmentStatus.NO_SHOW],
                )
                for doctor in doctors
            ],
            days=[
                DayUtilisation(day=day, available_minutes=available_by_day[day], booked_minutes=booked_by_day[day])
                for day in sorted(available_by_day.keys() | booked_by_day.keys())
            ],
        )

    def _available(
        self, hours: list[dict[str, Any]], from_day: date, to_day: date, away: list[Span]
    ) -> list[tuple[date, int]]:
        absent = merge(away)
        available = []
        for start, end in open_spans(hours, from_day, to_day, self.clinic.zone):
            lost = sum(
                (min(end, until) - max(start, since) for since, until in absent if since < end and until > start),
                timedelta(),
            )
            day = start.astimezone(self.clinic.zone).date()
            available.append((day, int((end - start - lost).total_seconds() // 60)))
        return available
