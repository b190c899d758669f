"""The utilisation report as a workbook: figures, doctors, days, and every appointment of the period."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from app.core.database import AnyRow
from app.schemas.reports import UtilisationReport
from app.services.report_xlsx import Field, Workbook

_DOCTORS = (
    Field("Doctor"),
    Field("Specialty"),
    Field("Available, minutes", "number"),
    Field("Booked, minutes", "number"),
    Field("Utilisation", "share"),
    Field("Appointments", "number"),
    Field("Completed", "number"),
    Field("Cancelled", "number"),
    Field("No-show", "number"),
)
_DAYS = (Field("Day", "day"), Field("Available, minutes", "number"), Field("Booked, minutes", "number"))


class UtilisationWorkbook:
    """Appointments are added in batches, in the order in which they come. Every method blocks."""

    def __init__(self, path: Path, report: UtilisationReport) -> None:
        last = report.to_day - timedelta(days=1)
        title = f"Utilisation report, {report.from_day} to {last}"
        self._zone = ZoneInfo(report.timezone)
        self._names = {doctor.doctor_id: doctor.full_name for doctor in report.doctors}
        self._book = Workbook(path, title=title, organisation=report.clinic_name)
        self._facts(report)
        doctors = self._book.table("Doctors", _DOCTORS)
        doctors.add(
            (
                one.full_name,
                one.specialty,
                one.available_minutes,
                one.booked_minutes,
                one.utilisation,
                one.appointments,
                one.completed,
                one.cancelled,
                one.no_show,
            )
            for one in report.doctors
        )
        doctors.end()
        days = self._book.table("Days", _DAYS)
        days.add((day.day, day.available_minutes, day.booked_minutes) for day in report.days)
        days.end()
        self._appointments = self._book.table(
            "Appointments",
            (
                Field("Number", "number"),
                Field(f"Starts ({report.timezone})", "moment"),
                Field("Minutes", "number"),
                Field("Doctor"),
                Field("Status"),
            ),
        )

    def add(self, appointments: Sequence[AnyRow]) -> None:
        """(id, doctor_id, starts_at, ends_at, status) of each."""
        self._appointments.add(
            (
                one.id,
                # A workbook knows no zones: the clinic's clock, as its heading says.
                one.starts_at.astimezone(self._zone).replace(tzinfo=None),
                (one.ends_at - one.starts_at).total_seconds() / 60,
                self._names.get(one.doctor_id, ""),
                one.status.value,
            )
            for one in appointments
        )

    def close(self) -> None:
        self._appointments.end()
        self._book.close()

    def _facts(self, report: UtilisationReport) -> None:
        self._book.add_facts(
            "Summary",
            (
                ("Clinic", "text", report.clinic_name),
                ("From", "day", report.from_day),
                ("To, inclusive", "day", report.to_day - timedelta(days=1)),
                ("Time zone", "text", report.timezone),
                ("Generated", "moment", report.generated_at.astimezone(self._zone).replace(tzinfo=None)),
                ("Available, minutes", "number", report.available_minutes),
                ("Booked, minutes", "number", report.booked_minutes),
                ("Utilisation", "share", report.utilisation),
                ("Appointments", "number", report.appointments),
                ("Completed", "number", report.completed),
                ("Cancelled", "number", report.cancelled),
                ("No-show", "number", report.no_show),
            ),
        )
