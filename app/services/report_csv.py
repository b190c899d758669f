"""The utilisation report as a table for spreadsheets."""

import csv
import io

from app.schemas.reports import UtilisationReport

_COLUMNS = (
    "doctor_id",
    "full_name",
    "specialty",
    "available_minutes",
    "booked_minutes",
    "utilisation",
    "appointments",
    "completed",
    "cancelled",
    "no_show",
)
# OWASP, CSV injection: what a spreadsheet takes for the start of a formula, the full-width forms included.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def render_utilisation_csv(report: UtilisationReport) -> bytes:
    """UTF-8 by RFC 4180: a row of column names, then a row for each doctor in the report's order.

    Times are minutes, utilisation is a share with four places. Text that a spreadsheet would run as a formula gets an
    apostrophe in front.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    for doctor in report.doctors:
        writer.writerow(
            (
                doctor.doctor_id,
                inert(doctor.full_name),
                inert(doctor.specialty),
                doctor.available_minutes,
                doctor.booked_minutes,
                f"{doctor.utilisation:.4f}",
                doctor.appointments,
                doctor.completed,
                doctor.cancelled,
                doctor.no_show,
            )
        )
    return stream.getvalue().encode()


def inert(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
