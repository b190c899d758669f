"""The utilisation report as a table for spreadsheets."""

import csv
import io
import re
import unicodedata

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
# OWASP, CSV injection. Half of the world's spreadsheets split at semicolons, whatever our quotes say, and others are
# told to split at tabs or bars: each part may become a cell.
_SEPARATORS = re.compile(r"([;|\t\r\n])")
_SIGNS = frozenset("=+-@\N{MINUS SIGN}")


def render_utilisation_csv(report: UtilisationReport) -> bytes:
    """UTF-8 by RFC 4180: a row of column names, then a row for each doctor in the report's order.

    Times are minutes, utilisation is a share with four places. Text that a spreadsheet would run as a formula gets an
    apostrophe in front, also where the formula would begin after a separator that is not ours.
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
    """The text with an apostrophe before each part that a spreadsheet would run as a formula."""
    body = text.lstrip()
    lead = text[: len(text) - len(body)]
    first, *rest = _SEPARATORS.split(body)
    armed = lead.startswith(("\t", "\r", "\n")) or _is_armed(first)
    parts = ["'" if armed else "", lead, first]
    for separator, part in zip(rest[::2], rest[1::2], strict=True):
        parts += [separator, "'" if _is_armed(part) else "", part]
    return "".join(parts)


def _is_armed(part: str) -> bool:
    """Whether the first that is to be seen is the sign of a formula, in any of its widths."""
    for character in part:
        if character == '"' or character.isspace() or unicodedata.category(character) in {"Cf", "Cc"}:
            continue
        return unicodedata.normalize("NFKC", character) in _SIGNS
    return False
