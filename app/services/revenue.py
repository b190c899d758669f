"""The revenue report: computed and drawn in a CPU job, kept as a file (decision 42)."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from app.config import ClinicSettings
from app.core.database import AnyRow, Database
from app.core.enums import OrderStatus
from app.core.jobs import ReportProgress
from app.core.money import CURRENCIES
from app.crud import revenue
from app.integrations.storage import Storage
from app.schemas.messages.reports import DrawRevenueReport
from app.schemas.reports import MEDIA_TYPES, DayRevenue, ReportFormat, RevenueReport
from app.services.calendar import day_bounds
from app.services.report_files import Document, written

PAGE = 2000
_COLUMNS = ("order_id", "paid_at", "status", "currency", "amount")


# The API accepts reports and never draws one: it does without the libraries.
def _render_pdf(report: RevenueReport) -> bytes:
    from app.services.revenue_pdf import render_revenue_pdf  # noqa: PLC0415

    return render_revenue_pdf(report)


def _begin_workbook(path: Path, report: RevenueReport) -> Document:
    from app.services.revenue_xlsx import RevenueWorkbook  # noqa: PLC0415

    return RevenueWorkbook(path, report)


@dataclass(frozen=True, slots=True)
class RevenueService:
    clinic: ClinicSettings
    database: Database
    storage: Storage

    async def draw(
        self, message: DrawRevenueReport, *, job_id: int, lease: UUID, progress: ReportProgress
    ) -> dict[str, Any]:
        """Compute, draw and store the report; the answer says where. No transaction is open while it computes."""
        report = await self.report(message.from_day, message.to_day)
        await progress(0, report.orders, "drawing")
        # The lease is part of the name: an attempt that lost it never touches the file of its successor.
        key = f"reports/{job_id}-{lease.hex}.{message.format.value}"
        pages = self._orders(report, progress)
        if message.format is ReportFormat.XLSX:
            async with written(lambda path: _begin_workbook(path, report), pages) as chunks:
                size = await self.storage.put(key, chunks)
        elif message.format is ReportFormat.CSV:
            size = await self.storage.put(key, csv_of(pages, self.clinic.zone))
        else:
            # A thread, so that the lease is renewed while the document is drawn.
            size = await self.storage.put(key, await asyncio.to_thread(_render_pdf, report))
        await progress(report.orders, report.orders)
        name = f"revenue-{message.from_day}-{message.to_day}.{message.format.value}"
        return {"file": {"key": key, "name": name, "media_type": MEDIA_TYPES[message.format], "size": size}}

    async def report(self, from_day: date, to_day: date) -> RevenueReport:
        start, end = day_bounds(from_day, to_day, self.clinic.zone)
        sums = await revenue.order_sums(self.database.lists, start=start, end=end, timezone=self.clinic.timezone)
        days: dict[tuple[date, str], list[int]] = {}
        for day, currency, status, number, amount in sums:
            counted = days.setdefault((day, currency), [0, 0, 0])
            counted[0] += number
            counted[1] += int(amount)
            counted[2] += int(amount) if status is OrderStatus.REFUNDED else 0
        return RevenueReport(
            clinic_name=self.clinic.name,
            timezone=self.clinic.timezone,
            from_day=from_day,
            to_day=to_day,
            generated_at=datetime.now(UTC),
            days=[
                DayRevenue(day=day, currency=currency, orders=orders, gross=gross, refunded=refunded)
                for (day, currency), (orders, gross, refunded) in days.items()
            ],
        )

    async def _orders(self, report: RevenueReport, progress: ReportProgress) -> AsyncIterator[Sequence[AnyRow]]:
        """Every order that was paid in the period, a page at a time, as of when its page is read."""
        start, end = day_bounds(report.from_day, report.to_day, self.clinic.zone)
        after, done = None, 0
        while rows := await revenue.orders_in(self.database.lists, start=start, end=end, after=after, limit=PAGE):
            yield rows
            after, done = (rows[-1].paid_at, rows[-1].id), done + len(rows)
            await progress(done, max(done, report.orders), "writing orders")


async def csv_of(pages: AsyncIterator[Sequence[AnyRow]], zone: ZoneInfo) -> AsyncIterator[bytes]:
    """UTF-8 by RFC 4180, a chunk for each page: column names, then a row for each order, on the clinic's clock."""
    yield (",".join(_COLUMNS) + "\r\n").encode()
    async for rows in pages:
        stream = io.StringIO(newline="")
        csv.writer(stream).writerows(
            (
                row.id,
                row.paid_at.astimezone(zone).isoformat(timespec="seconds"),
                row.status.value,
                row.currency,
                str(Decimal(row.total_amount).scaleb(-CURRENCIES[row.currency])),
            )
            for row in rows
        )
        yield stream.getvalue().encode()
