"""Workbooks, read back from their XML; and every format over a hundred thousand appointments."""

import asyncio
import csv
import io
import os
import re
import sys
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pypdf import PdfReader

from app.core.jobs import enqueue
from app.schemas.messages.reports import DrawUtilisationReport
from app.schemas.reports import MEDIA_TYPES, ReportFormat
from app.services import report_xlsx
from app.services.container import Container
from app.services.report_xlsx import Field, Workbook
from tests.support import World

SPACES = {"x": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
EPOCH = datetime(1899, 12, 30, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]
FIRST = date(2026, 1, 1)
NUMBER = 100_000


def parsed(content: bytes) -> ET.Element:
    return ET.fromstring(content)  # noqa: S314 - our own


def sheets(document: bytes) -> dict[str, list[list[Any]]]:
    """The cells of each sheet by row: text as str, numbers as float."""
    book = zipfile.ZipFile(io.BytesIO(document))
    names = [one.attrib["name"] for one in parsed(book.read("xl/workbook.xml")).iterfind(".//x:sheet", SPACES)]
    return {name: rows(book.read(f"xl/worksheets/sheet{number}.xml")) for number, name in enumerate(names, start=1)}


def rows(sheet: bytes) -> list[list[Any]]:
    found = []
    for row in parsed(sheet).iterfind(".//x:row", SPACES):
        cells = []
        for cell in row:
            text = "".join(part.text or "" for part in cell.iterfind(".//x:t", SPACES))
            value = cell.find("x:v", SPACES)
            cells.append(text if value is None else float(value.text or ""))
            assert cell.find("x:f", SPACES) is None, "a formula"
        found.append(cells)
    return found


def moment(serial: float) -> datetime:
    return EPOCH + timedelta(seconds=round(serial * 86400))


def test_text_is_text_and_numbers_are_numbers(tmp_path: Path) -> None:
    """What looks like a formula, a link or a number stays text; dates, shares and money are numbers with a format; the
    head is frozen, and a table that is full goes on in a further sheet."""
    path = tmp_path / "book.xlsx"
    book = Workbook(path, title="Title", organisation="Clinic & Co")
    book.add_facts("Summary", [("Clinic", "text", "=1+1"), ("Nothing", "text", None)])
    table = book.table("Rows", (Field("Name"), Field("Day", "day"), Field("Share", "share"), Field("Sum", "money")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_xlsx, "LAST_ROW", 2)
        table.add(
            [
                (name, date(2026, 3, 29), 0.5, 12.5)
                for name in ("=cmd|'/C calc'!A0", "http://x", "007", "\x07" + "x" * 40_000)
            ]
        )
    table.end()
    book.close()
    document = path.read_bytes()
    found = sheets(document)
    assert list(found) == ["Summary", "Rows", "Rows 2"]
    assert found["Summary"] == [["Clinic", "=1+1"], ["Nothing"]]
    assert found["Rows"][0] == ["Name", "Day", "Share", "Sum"] == found["Rows 2"][0]
    assert [row[0] for row in found["Rows"][1:]] == ["=cmd|'/C calc'!A0", "http://x"]
    assert found["Rows 2"][1][0] == "007"
    assert moment(found["Rows"][1][1]) == datetime(2026, 3, 29, tzinfo=UTC)
    assert found["Rows"][1][2:] == [0.5, 12.5]
    book_files = zipfile.ZipFile(io.BytesIO(document))
    assert b'state="frozen"' in book_files.read("xl/worksheets/sheet2.xml")
    styles = book_files.read("xl/styles.xml").decode()
    assert all(form in styles for form in ("yyyy-mm-dd", "0.0%"))
    assert list(tmp_path.iterdir()) == [path]


async def drawn(world: World, form: ReportFormat) -> bytes:
    """The document of a job that ran here."""
    message = DrawUtilisationReport(from_day=FIRST, to_day=FIRST + timedelta(days=365), format=form)
    async with world.database.session_scope() as session:
        job_id = await enqueue(session, message)
    await world.run_jobs()
    job = (await world.rows("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]
    assert job.status == "succeeded", job.error
    assert job.result["file"]["media_type"] == MEDIA_TYPES[form]
    assert job.progress_done == job.progress_total
    return b"".join([chunk async for chunk in world.container.storage.open(job.result["file"]["key"])])


async def test_a_workbook_of_appointments(world: World, container: Container) -> None:
    """Figures, doctors, days and every appointment, on the clinic's clock across daylight saving; pages of two lose and
    repeat none that begin at the same moment."""
    doctors, patient = [await world.doctor(full_name=f"Dr. {name}") for name in "ABC"], await world.person()
    for minute, doctor_id in enumerate(doctors * 3):
        starts_at = datetime(2026, 3, 29, minute // 3, 30, tzinfo=UTC)
        await world.execute(
            "INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at) VALUES (:d, :p, :s, :e)",
            d=doctor_id,
            p=patient.id,
            s=starts_at,
            e=starts_at + timedelta(minutes=30),
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.services.reports.PAGE", 2)
        found = sheets(await drawn(world, ReportFormat.XLSX))
    assert list(found) == ["Summary", "Doctors", "Days", "Appointments"]
    assert ["Appointments", 9.0] in found["Summary"]
    assert [row[0] for row in found["Doctors"][1:]] == ["Dr. A", "Dr. B", "Dr. C"]
    listed = found["Appointments"]
    assert listed[0] == ["Number", "Starts (Europe/Berlin)", "Minutes", "Doctor", "Status"]
    assert [row[0] for row in listed[1:]] == [float(n) for n in range(1, 10)]
    assert [moment(row[1]).hour for row in listed[1::3]] == [1, 3, 4], "the hour from 2 to 3 did not exist"
    assert listed[1][2:] == [30.0, "Dr. A", "booked"]


MEASURE = """
import asyncio, re, sys
from pathlib import Path
from app.config import get_settings
from app.services.container import build
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies

async def main():
    settings = get_settings()
    container = build(settings, role="worker", pooled=False)
    runner = Runner(container.database, bodies(container), settings.jobs)
    for job_id in sys.argv[1:]:
        await runner.run(int(job_id))
    await container.close()

asyncio.run(main())
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_hundred_thousand_appointments_in_bounded_memory(world: World, container: Container) -> None:
    """All three formats have every appointment in them, and the process that drew them never held 300 MiB."""
    patient = await world.person()
    doctors = [await world.doctor(full_name=f"Dr. Number {n}") for n in range(40)]
    # Not kept or cancelled, but for every hundredth: the exclusion constraint looks at live ones alone.
    for first in range(0, NUMBER, NUMBER // 10):
        await world.execute(
            "INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at, status) "
            "SELECT :doctor + n % 40, :patient, s, s + interval '30 minutes', "
            "CASE WHEN n % 100 = 0 THEN 'completed' WHEN n % 2 = 0 THEN 'cancelled' ELSE 'no_show' END "
            "FROM (SELECT n, timestamptz '2026-01-02' + (n / 40) * interval '2 hours' AS s "
            "FROM generate_series(CAST(:first AS int), :last) n) spans",
            doctor=doctors[0],
            patient=patient.id,
            first=first,
            last=first + NUMBER // 10 - 1,
        )
    messages = [
        DrawUtilisationReport(from_day=FIRST, to_day=FIRST + timedelta(days=365), format=form) for form in ReportFormat
    ]
    async with world.database.session_scope() as session:
        ids = [await enqueue(session, message) for message in messages]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MEASURE,
        *map(str, ids),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    peak = int(said.split()[-1]) // 1024
    assert peak < 300
    documents = {}
    for job_id, form in zip(ids, ReportFormat, strict=True):
        job = (await world.rows("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]
        assert (job.status, job.progress_done) == ("succeeded", NUMBER), job.error
        documents[form] = b"".join([chunk async for chunk in container.storage.open(job.result["file"]["key"])])
    listed = list(csv.DictReader(io.StringIO(documents[ReportFormat.CSV].decode())))
    assert sum(int(row["appointments"]) for row in listed) == NUMBER
    assert {row["completed"] for row in listed} <= {"0", "500"}
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(documents[ReportFormat.PDF])).pages)
    assert "100,000" in text
    book = zipfile.ZipFile(io.BytesIO(documents[ReportFormat.XLSX]))
    assert len(re.findall(rb"<row ", book.read("xl/worksheets/sheet4.xml"))) == NUMBER + 1
