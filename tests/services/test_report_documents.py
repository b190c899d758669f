"""The utilisation report as PDF and as CSV, read back the way its readers do."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import reportlab  # type: ignore[import-untyped, unused-ignore]
from pydantic import ValidationError
from pypdf import PdfReader

from app.schemas.reports import DayUtilisation, DoctorUtilisation, UtilisationReport
from app.services import report_pdf
from app.services.report_csv import render_utilisation_csv
from app.services.report_fonts import choose_fonts, load_fonts
from app.services.report_pdf import render_utilisation_pdf, time_columns

MARCH = date(2026, 3, 1)
VERA = Path(reportlab.__file__).parent / "fonts"


def doctor(
    number: int = 1, *, name: str = "Dr Amélie Łukasz", specialty: str = "Cardiology", booked: int = 450
) -> DoctorUtilisation:
    return DoctorUtilisation(
        doctor_id=number,
        full_name=name,
        specialty=specialty,
        available_minutes=600,
        booked_minutes=booked,
        appointments=15,
        completed=11,
        cancelled=3,
        no_show=1,
    )


def report(
    doctors: Sequence[DoctorUtilisation] = (), *, days: int = 31, clinic: str = "Riverside Clinic", worked: bool = True
) -> UtilisationReport:
    listed = [
        DayUtilisation(day=MARCH + timedelta(days=n), available_minutes=480, booked_minutes=240)
        for n in range(days if worked else 0)
    ]
    return UtilisationReport(
        clinic_name=clinic,
        timezone="Europe/Berlin",
        from_day=MARCH,
        to_day=MARCH + timedelta(days=days),
        generated_at=datetime(2026, 4, 1, 12, 5, tzinfo=UTC),
        doctors=list(doctors),
        days=listed,
    )


def pages(document: bytes) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(document)).pages]


def rows(document: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(document.decode("utf-8"), newline="")))


def test_the_document_says_what_was_found() -> None:
    """Clinic, period with its last day, local time of making, key figures and the doctor's row are on the page."""
    (page,) = pages(render_utilisation_pdf(report([doctor(), doctor(2, name="Dr Tom Berg", booked=150)])))
    for words in (
        "Utilisation report",
        "Riverside Clinic",
        "1 March 2026 to 31 March 2026",
        "Generated 1 April 2026, 14:05 (Europe/Berlin)",
        "Page 1 of 1",
        "50%",
        "of 20 h available",
        "30",
        "6 cancelled, 2 no-show",
        "Utilisation by doctor",
        "Booked and available hours by day",
        "Dr Amélie Łukasz Cardiology 10 h 7.5 h 75% 15 11 3 1",
    ):
        assert words in page


def test_two_hundred_doctors_paginate() -> None:
    """The table has each doctor once and its head on every page, the chart the top 25 and says so."""
    many = [doctor(n, name=f"Dr Number{n:03}", booked=n) for n in range(1, 201)]
    texts = pages(render_utilisation_pdf(report(many, days=365)))
    assert 5 <= len(texts) <= 12
    assert all(f"Page {number} of {len(texts)}" in text for number, text in enumerate(texts, start=1))
    assert all("Specialty" in text for text in texts[2:])
    everything = " ".join(texts)
    assert "The 25 highest of 200 doctors" in everything
    assert "hours by week" in everything
    for n in range(1, 201):
        assert everything.count(f"Dr Number{n:03}") == (2 if n > 175 else 1)


@pytest.mark.parametrize("days", [0, 7])
def test_an_empty_period_has_a_friendly_page(days: int) -> None:
    """Without doctors and days there is one page that says so, still with its head and foot."""
    (page,) = pages(render_utilisation_pdf(report(days=days, worked=False)))
    assert "Nothing to report for this period" in page
    assert "Page 1 of 1" in page


def test_doctors_without_any_hours_are_still_listed() -> None:
    """Nothing available is 0 %, not an error."""
    idle = doctor().model_copy(update={"available_minutes": 0, "booked_minutes": 0})
    (page,) = pages(render_utilisation_pdf(report([idle], worked=False)))
    assert "Dr Amélie Łukasz Cardiology 0 h 0 h 0%" in page


@pytest.mark.parametrize(
    "name", ["<b>Bold</b> & Co", "<img src='x'/>", "</para>", "&amp; &#65;", "<font color='red'>", "a<b"]
)
def test_text_is_shown_not_obeyed(name: str) -> None:
    """Markup in the clinic's, a doctor's or a specialty's name is printed letter by letter."""
    text = " ".join(pages(render_utilisation_pdf(report([doctor(name=name, specialty=name)], clinic=name))))
    assert text.replace(" ", "").count(name.replace(" ", "")) >= 5


@pytest.mark.parametrize("name", ["x" * 5000, "Dr " * 2000, "", " ", "\n\t\x00", "😀" * 300, "王" * 500])
def test_no_name_breaks_the_page(name: str) -> None:
    """Endless, empty and unprintable names still make a document."""
    assert len(pages(render_utilisation_pdf(report([doctor(name=name, specialty=name)], clinic=name)))) <= 2


def test_names_of_many_scripts_can_be_read_back() -> None:
    """With the fonts at hand, what is covered is extracted as written, Chinese by a standard font if not embedded."""
    names = ["Dr José Ñandú", "Dr Łukasz Żółć", "Dr 王小明"]
    if load_fonts().regular != "Vera":
        names += ["Dr Иван Жуков", "Dr Ανδρέας"]
    text = " ".join(pages(render_utilisation_pdf(report([doctor(n, name=name) for n, name in enumerate(names)]))))
    assert [name for name in names if text.count(name) != 2] == []


def test_without_system_fonts_text_degrades_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing but reportlab's own font, accents fall away where they must and the rest becomes question marks."""
    fonts = choose_fonts({name: VERA / name for name in ("Vera.ttf", "VeraBd.ttf")})
    assert fonts.runs("Łukasz Ǎdam Ж😀") == [("Vera", "Łukasz Adam ??")]
    monkeypatch.setattr(report_pdf, "load_fonts", lambda: fonts)
    assert "Dr ????" in pages(render_utilisation_pdf(report([doctor(name="Dr Иван")])))[0]


def test_a_damaged_font_is_passed_over(tmp_path: Path) -> None:
    """A font file that can't be read leaves the next one to do the work."""
    (tmp_path / "DejaVuSans.ttf").write_bytes(b"not a font")
    found = {name: VERA / name for name in ("Vera.ttf", "VeraBd.ttf")}
    broken = dict.fromkeys(("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"), tmp_path / "DejaVuSans.ttf")
    assert choose_fonts(found | broken).regular == "Vera"


@pytest.mark.parametrize(
    ("days", "unit", "count", "first", "last"),
    [
        (1, "day", 1, "1 Mar", "1 Mar"),
        (62, "day", 62, "1 Mar", "1 May"),
        (63, "week", 10, "23 Feb", "27 Apr"),
        (731, "week", 106, "23 Feb", "28 Feb"),
        (732, "month", 25, "Mar 2026", "Mar 2028"),
    ],
)
def test_long_periods_are_gathered(days: int, unit: str, count: int, first: str, last: str) -> None:
    """Up to 62 days stand singly, then weeks from Monday, above two years months; no hour is lost on the way."""
    found, columns = time_columns(report(days=days))
    assert (found, len(columns), columns[0].label, columns[-1].label) == (unit, count, first, last)
    assert sum(column.available_hours for column in columns) == pytest.approx(days * 8)
    assert sum(column.booked_hours for column in columns) == pytest.approx(days * 4)


def test_days_that_are_not_listed_keep_their_place() -> None:
    """A day without hours is an empty column, so that the axis stays a calendar."""
    sparse = report(days=5).model_copy(
        update={"days": [DayUtilisation(day=date(2026, 3, 4), available_minutes=60, booked_minutes=30)]}
    )
    assert [column.available_hours for column in time_columns(sparse)[1]] == [0, 0, 0, 1, 0]


def test_the_table_for_spreadsheets() -> None:
    """UTF-8 with a head and a row for each doctor, the share with four places, quotes and commas kept."""
    document = render_utilisation_csv(report([doctor(name='Dr "Ж", Łukasz'), doctor(2, booked=200)]))
    assert document.startswith(b"doctor_id,full_name,specialty,available_minutes,booked_minutes,utilisation,")
    first, second = rows(document)
    assert first == {
        "doctor_id": "1",
        "full_name": 'Dr "Ж", Łukasz',
        "specialty": "Cardiology",
        "available_minutes": "600",
        "booked_minutes": "450",
        "utilisation": "0.7500",
        "appointments": "15",
        "completed": "11",
        "cancelled": "3",
        "no_show": "1",
    }
    assert second["utilisation"] == "0.3333"


def test_an_empty_table_still_has_its_head() -> None:
    """Without doctors there is the row of names alone."""
    document = render_utilisation_csv(report())
    assert rows(document) == []
    assert document.count(b"\r\n") == 1


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_no_text_runs_as_a_formula(text: str) -> None:
    """What a spreadsheet would run gets an apostrophe in front, and nothing else is touched."""
    (row,) = rows(render_utilisation_csv(report([doctor(name=text, specialty=text)])))
    assert (row["full_name"], row["specialty"]) == (f"'{text}", f"'{text}")
    (plain,) = rows(render_utilisation_csv(report([doctor(name="O'Hara = fine", specialty="A-B")])))
    assert (plain["full_name"], plain["specialty"]) == ("O'Hara = fine", "A-B")


@pytest.mark.parametrize(
    ("text", "disarmed"),
    [
        ("Dr. No;=cmd|'/c calc'!A0", "Dr. No;'=cmd|'/c calc'!A0"),
        ("Dr. No; \u200b=1", "Dr. No;' \u200b=1"),
        ('Dr. No;"=1"', 'Dr. No;\'"=1"'),
        ("a\t+1|@b;c", "a\t'+1|'@b;c"),
        ("a\n-1", "a\n'-1"),
        ("\u22121", "'\u22121"),
        ("\ufe631", "'\ufe631"),
        ("\u200b\ufeff=1", "'\u200b\ufeff=1"),
        ("\u2060\uff1d1", "'\u2060\uff1d1"),
        ("Surgery; Intensive - Care | A=B", "Surgery; Intensive - Care | A=B"),
    ],
)
def test_no_part_of_a_text_runs_as_a_formula(text: str, disarmed: str) -> None:
    """Nor after a separator that is not ours, in another width or behind what can't be seen; the rest is untouched."""
    (row,) = rows(render_utilisation_csv(report([doctor(name=text, specialty=text)])))
    assert (row["full_name"], row["specialty"]) == (disarmed, disarmed)


def test_shares_and_totals() -> None:
    """The report's share is that of all minutes together, and 0 when there were none."""
    both = report([doctor(), doctor(2, booked=150)])
    assert (both.available_minutes, both.booked_minutes, both.utilisation) == (1200, 600, 0.5)
    assert (both.appointments, both.completed, both.cancelled, both.no_show) == (30, 22, 6, 2)
    assert (report().utilisation, doctor(booked=900).utilisation) == (0.0, 1.5)


@pytest.mark.parametrize(
    "change",
    [
        {"timezone": "Europe/Nowhere"},
        {"timezone": "../etc"},
        {"generated_at": datetime(2026, 4, 1, 12)},  # noqa: DTZ001 - what is refused
        {"to_day": date(2026, 2, 1)},
    ],
)
def test_a_report_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    """An unknown zone, a time without one and a period that runs backwards never become a report."""
    with pytest.raises(ValidationError):
        UtilisationReport.model_validate(report().model_dump() | change)
