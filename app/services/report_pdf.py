"""The utilisation report as a document for people: A4, key figures, two charts, a table."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from reportlab.lib.colors import HexColor, white  # type: ignore[import-untyped, unused-ignore]
from reportlab.platypus import (  # type: ignore[import-untyped, unused-ignore]
    CondPageBreak,
    KeepTogether,
    LongTable,
    Spacer,
    Table,
)

from app.schemas.reports import DoctorUtilisation, UtilisationReport
from app.services.report_charts import ACCENT, GRID, INK, SOFT, Bar, Column, bar_chart, column_chart
from app.services.report_fonts import Fonts, load_fonts
from app.services.report_page import CONTENT_WIDTH, build_pdf, paragraph

_CHARTED_DOCTORS = 25
_DAYS_SHOWN_SINGLY = 62
_DAYS_SHOWN_AS_WEEKS = 731
# A cell is never split between pages, so that no name may fill one.
_LONGEST_NAME = 120
# Below this height a table would leave its heading alone at the foot of a page.
_TABLE_START = 110
_PANEL = HexColor("#f4f8f8")
_COLUMN_WIDTHS = (121, 88, 52, 48, 38, 38, 34, 35, 45)
TABLE_STYLE = [
    ("BACKGROUND", (0, 0), (-1, 0), ACCENT),
    ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, _PANEL]),
    ("LINEBELOW", (0, 0), (-1, -1), 0.5, GRID),
    ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ("LEFTPADDING", (0, 0), (-1, -1), 4),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 4),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
]
_HEADINGS = ("Doctor", "Specialty", "Available", "Booked", "Used", "Appts", "Done", "Canc.", "No-show")


def render_utilisation_pdf(report: UtilisationReport) -> bytes:
    """The report as PDF. Pure computation that takes up to a second: for a worker, not for the event loop.

    The chart of doctors holds the 25 with the highest utilisation, the table all of them; the chart over time shows
    days, weeks from Monday above 62 days, months above two years. Text is embedded in the widest font of the system;
    what happens to other scripts is told in `report_fonts`.
    """
    fonts = load_fonts()
    local = report.generated_at.astimezone(ZoneInfo(report.timezone))
    return build_pdf(
        _story(report, fonts),
        fonts=fonts,
        title=f"Utilisation report, {say_period(report.from_day, report.to_day)}",
        organisation=report.clinic_name,
        period=say_period(report.from_day, report.to_day),
        generated=f"Generated {say_day(local.date())}, {local:%H:%M} ({report.timezone})",
    )


def _story(report: UtilisationReport, fonts: Fonts) -> list[Any]:
    story = [
        paragraph("Utilisation report", fonts=fonts, size=22, bold=True, after=4),
        paragraph(
            f"{say_period(report.from_day, report.to_day)}, {_shortened(report.clinic_name)}",
            fonts=fonts,
            size=10.5,
            color=SOFT,
            after=16,
        ),
    ]
    if not report.doctors and not any(day.available_minutes or day.booked_minutes for day in report.days):
        story += [
            paragraph("Nothing to report for this period", fonts=fonts, size=13, bold=True, after=4),
            paragraph(
                "No doctor had hours and no appointment was booked. Once hours are published for these days, "
                "the figures, charts and table appear here.",
                fonts=fonts,
            ),
        ]
        return story
    story += [_key_figures(report, fonts), Spacer(1, 22)]
    if report.doctors:
        story.append(_doctor_chart(report.doctors, fonts))
    if any(day.available_minutes or day.booked_minutes for day in report.days):
        story.append(_time_chart(report, fonts))
    if report.doctors:
        story += _doctor_table(report.doctors, fonts)
    return story


def _key_figures(report: UtilisationReport, fonts: Fonts) -> Any:
    figures = (
        ("Utilisation", f"{report.utilisation:.0%}", "booked of available time"),
        ("Booked", f"{_hours(report.booked_minutes)} h", f"of {_hours(report.available_minutes)} h available"),
        ("Appointments", f"{report.appointments:,}", f"{report.completed:,} completed"),
        (
            "Not kept",
            f"{report.cancelled + report.no_show:,}",
            f"{report.cancelled:,} cancelled, {report.no_show:,} no-show",
        ),
    )
    return figure_panel(figures, fonts)


def figure_panel(figures: Sequence[tuple[str, str, str]], fonts: Fonts, *, size: float = 18) -> Any:
    """Figures side by side: what each is, itself, and a note on it."""
    cells = [
        [
            paragraph(label, fonts=fonts, size=8.5, color=SOFT),
            paragraph(figure, fonts=fonts, size=size, bold=True, color=ACCENT),
            paragraph(note, fonts=fonts, size=7.5, color=SOFT),
        ]
        for label, figure, note in figures
    ]
    style = [
        ("BACKGROUND", (0, 0), (-1, -1), _PANEL),
        ("LINEAFTER", (0, 0), (-2, -1), 6, white),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 12),
        ("RIGHTPADDING", (0, 0), (-1, -1), 8),
        ("TOPPADDING", (0, 0), (-1, -1), 10),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 10),
    ]
    return Table([cells], colWidths=[CONTENT_WIDTH / len(cells)] * len(cells), style=style)


def _doctor_chart(doctors: Sequence[DoctorUtilisation], fonts: Fonts) -> Any:
    shown = sorted(doctors, key=lambda doctor: (-doctor.utilisation, doctor.full_name))[:_CHARTED_DOCTORS]
    parts = [paragraph("Utilisation by doctor", fonts=fonts, size=13, bold=True, after=6)]
    if len(shown) < len(doctors):
        note = f"The {len(shown)} highest of {len(doctors)} doctors; the table that follows has all of them."
        parts.append(paragraph(note, fonts=fonts, size=8.5, color=SOFT, after=6))
    bars = [Bar(label=doctor.full_name, share=doctor.utilisation) for doctor in shown]
    return KeepTogether([*parts, bar_chart(bars, fonts=fonts, width=CONTENT_WIDTH), Spacer(1, 22)])


def _time_chart(report: UtilisationReport, fonts: Fonts) -> Any:
    unit, columns = time_columns(report)
    heading = paragraph(f"Booked and available hours by {unit}", fonts=fonts, size=13, bold=True, after=6)
    return KeepTogether([heading, column_chart(columns, fonts=fonts, width=CONTENT_WIDTH), Spacer(1, 22)])


def time_columns(report: UtilisationReport) -> tuple[str, list[Column]]:
    """The unit (`day`, `week`, `month`) and its columns in order, the empty ones included."""
    length = (report.to_day - report.from_day).days
    unit = column_unit(length)
    hours: dict[date, tuple[float, float]] = {
        column_start(unit, report.from_day + timedelta(days=offset)): (0.0, 0.0) for offset in range(length)
    }
    for day in report.days:
        start = column_start(unit, day.day)
        available, booked = hours.get(start, (0.0, 0.0))
        hours[start] = (available + day.available_minutes / 60, booked + day.booked_minutes / 60)
    return unit, [Column(column_label(unit, start), *hours[start]) for start in sorted(hours)]


def column_unit(days: int) -> str:
    """What a column of a chart over so many days stands for."""
    return "day" if days <= _DAYS_SHOWN_SINGLY else "week" if days <= _DAYS_SHOWN_AS_WEEKS else "month"


def column_start(unit: str, day: date) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def column_label(unit: str, start: date) -> str:
    return f"{start:%b %Y}" if unit == "month" else f"{start.day} {start:%b}"


def _doctor_table(doctors: Sequence[DoctorUtilisation], fonts: Fonts) -> list[Any]:
    rows = [[_cell(heading, fonts, bold=True, right=i > 1, color=white) for i, heading in enumerate(_HEADINGS)]]
    for doctor in doctors:
        figures = (
            f"{_hours(doctor.available_minutes)} h",
            f"{_hours(doctor.booked_minutes)} h",
            f"{doctor.utilisation:.0%}",
            *(f"{n:,}" for n in (doctor.appointments, doctor.completed, doctor.cancelled, doctor.no_show)),
        )
        names = (_cell(_shortened(name), fonts) for name in (doctor.full_name, doctor.specialty))
        rows.append([*names, *(_cell(figure, fonts, right=True) for figure in figures)])
    heading = paragraph("All doctors", fonts=fonts, size=13, bold=True, after=6)
    return [
        CondPageBreak(_TABLE_START),
        heading,
        LongTable(rows, colWidths=_COLUMN_WIDTHS, repeatRows=1, style=TABLE_STYLE),
    ]


def _cell(text: str, fonts: Fonts, *, bold: bool = False, right: bool = False, color: Any = INK) -> Any:
    return paragraph(text, fonts=fonts, size=7.5, bold=bold, right=right, color=color)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1].rstrip()}…"


def _hours(minutes: int) -> str:
    return f"{minutes / 60:,.1f}".removesuffix(".0")


def say_period(from_day: date, to_day: date) -> str:
    if to_day == from_day:
        return say_day(from_day)
    last = to_day - timedelta(days=1)
    return say_day(last) if last == from_day else f"{say_day(from_day)} to {say_day(last)}"


def say_day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
