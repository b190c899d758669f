"""The revenue report: what was paid when, in three formats."""

import csv
import io
from datetime import date
from typing import Any

import httpx
import pytest
from pypdf import PdfReader

from app.schemas.reports import MEDIA_TYPES, ReportFormat
from tests.services.test_report_workbooks import sheets
from tests.support import API, World

ASKED = {"kind": "revenue", "from": "2026-03-01", "to": "2026-04-01"}


async def order(world: World, patient_id: int, *, paid_at: str | None, total: int, **values: Any) -> None:
    row = {"status": "paid" if paid_at else "pending_payment", "currency": "EUR"} | values
    await world.execute(
        "INSERT INTO orders (patient_id, status, total_amount, currency, expires_at, paid_at) "
        "VALUES (:patient, :status, :total, :currency, now(), CAST(CAST(:paid_at AS text) AS timestamptz))",
        patient=patient_id,
        total=total,
        paid_at=paid_at,
        **row,
    )


async def drawn(client: httpx.AsyncClient, world: World, form: ReportFormat) -> tuple[Any, bytes]:
    admin = await world.admin()
    accepted = await client.post(f"{API}/reports", json=ASKED | {"format": form.value}, headers=admin.headers)
    assert accepted.status_code == 202, accepted.text
    await world.run_jobs()
    job = (await client.get(accepted.headers["location"], headers=admin.headers)).json()
    assert job["status"] == "succeeded", job
    result = await client.get(f"{accepted.headers['location']}/result", headers=admin.headers)
    assert result.headers["content-type"] == MEDIA_TYPES[form]
    assert f'filename="revenue-2026-03-01-2026-04-01.{form.value}"' in result.headers["content-disposition"]
    return job, result.content


async def some_orders(world: World) -> None:
    """Four in the period, one of them refunded and one in yen; one that is not paid, and two in the hours around it."""
    patient = (await world.person()).id
    await order(world, patient, paid_at="2026-02-28T23:00:00Z", total=1250)  # midnight in Berlin: in
    await order(world, patient, paid_at="2026-03-31T21:59:59Z", total=750)
    await order(world, patient, paid_at="2026-03-31T21:00:00Z", total=500, status="refunded")
    await order(world, patient, paid_at="2026-03-10T12:00:00Z", total=900, currency="JPY")
    await order(world, patient, paid_at=None, total=9999)
    await order(world, patient, paid_at="2026-02-28T22:59:59Z", total=8888)
    await order(world, patient, paid_at="2026-03-31T22:00:00Z", total=7777)


async def test_as_csv(client: httpx.AsyncClient, world: World) -> None:
    """A row for each order that was paid within the clinic's days, in decimals of its currency, a page at a time."""
    await some_orders(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.services.revenue.PAGE", 1)
        job, document = await drawn(client, world, ReportFormat.CSV)
    rows = list(csv.DictReader(io.StringIO(document.decode(), newline="")))
    assert [(row["order_id"], row["amount"], row["currency"], row["status"]) for row in rows] == [
        ("1", "12.50", "EUR", "paid"),
        ("4", "900", "JPY", "paid"),
        ("3", "5.00", "EUR", "refunded"),
        ("2", "7.50", "EUR", "paid"),
    ]
    assert rows[0]["paid_at"] == "2026-03-01T00:00:00+01:00"
    assert job["progress"]["done"] == job["progress"]["total"] == 4


async def test_as_xlsx(client: httpx.AsyncClient, world: World) -> None:
    """Totals and days by currency, never added up, and every order, in numbers."""
    await some_orders(world)
    found = sheets((await drawn(client, world, ReportFormat.XLSX))[1])
    assert list(found) == ["Summary", "Totals", "Days", "Orders"]
    assert found["Totals"][1:] == [["EUR", 3.0, 25.0, 5.0, 20.0], ["JPY", 1.0, 900.0, 0.0, 900.0]]
    assert [row[1:] for row in found["Days"][1:]] == [
        ["EUR", 1.0, 12.5, 0.0, 12.5],
        ["JPY", 1.0, 900.0, 0.0, 900.0],
        ["EUR", 2.0, 12.5, 5.0, 7.5],
    ]
    assert [row[0] for row in found["Orders"][1:]] == [1.0, 4.0, 3.0, 2.0]


async def test_as_pdf(client: httpx.AsyncClient, world: World) -> None:
    """Net, gross and refunds of each currency are on the page, and a period without orders says so."""
    _, empty = await drawn(client, world, ReportFormat.PDF)
    assert "Nothing to report for this period" in PdfReader(io.BytesIO(empty)).pages[0].extract_text()
    await some_orders(world)
    _, document = await drawn(client, world, ReportFormat.PDF)
    text = " ".join(" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(document)).pages)
    for words in (
        "Revenue report",
        "20.00 EUR, what was kept",
        "25.00 EUR, what was paid",
        "5.00 EUR, of what was paid",
        "900 JPY, what was kept",
        "Revenue by day, in EUR",
        "Page 1 of",
    ):
        assert words in text
    assert f"{date(2026, 3, 31):%-d %B %Y} 2 12.50 EUR 5.00 EUR 7.50 EUR" in text


async def test_pages_lose_and_repeat_none(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of orders that were paid at one moment, more than a page of them, each is written once."""
    monkeypatch.setattr("app.services.revenue.PAGE", 2)
    patient = (await world.person()).id
    for _ in range(5):
        await order(world, patient, paid_at="2026-03-10T12:00:00Z", total=100)
    _, document = await drawn(client, world, ReportFormat.CSV)
    assert [row["order_id"] for row in csv.DictReader(io.StringIO(document.decode()))] == list("12345")
