"""The revenue report as a workbook: totals, days, and every order that was paid in the period."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from app.core.database import AnyRow
from app.core.money import CURRENCIES
from app.schemas.reports import DayRevenue, RevenueReport
from app.services.report_xlsx import Field, Workbook

_MONEY = (
    Field("Currency"),
    Field("Orders", "number"),
    Field("Gross", "money"),
    Field("Refunded", "money"),
    Field("Net", "money"),
)


def _major(amount: int, currency: str) -> float:
    return float(amount / 10 ** CURRENCIES[currency])


def _figures(one: DayRevenue) -> tuple[str, int, float, float, float]:
    gross, refunded, net = (_major(amount, one.currency) for amount in (one.gross, one.refunded, one.net))
    return one.currency, one.orders, gross, refunded, net


class RevenueWorkbook:
    """Orders are added in batches, in the order in which they come. Every method blocks."""

    def __init__(self, path: Path, report: RevenueReport) -> None:
        last = report.to_day - timedelta(days=1)
        self._zone = ZoneInfo(report.timezone)
        self._book = Workbook(
            path, title=f"Revenue report, {report.from_day} to {last}", organisation=report.clinic_name
        )
        self._book.add_facts(
            "Summary",
            (
                ("Clinic", "text", report.clinic_name),
                ("From", "day", report.from_day),
                ("To, inclusive", "day", last),
                ("Time zone", "text", report.timezone),
                ("Generated", "moment", report.generated_at.astimezone(self._zone).replace(tzinfo=None)),
                ("Orders", "number", report.orders),
            ),
        )
        totals = self._book.table("Totals", _MONEY)
        totals.add(_figures(one) for one in report.totals)
        totals.end()
        days = self._book.table("Days", (Field("Day", "day"), *_MONEY))
        days.add((one.day, *_figures(one)) for one in report.days)
        days.end()
        self._orders = self._book.table(
            "Orders",
            (
                Field("Number", "number"),
                Field(f"Paid ({report.timezone})", "moment"),
                Field("Status"),
                Field("Currency"),
                Field("Amount", "money"),
            ),
        )

    def add(self, orders: Sequence[AnyRow]) -> None:
        """(id, paid_at, status, currency, total_amount) of each."""
        self._orders.add(
            (
                one.id,
                # A workbook knows no zones: the clinic's clock, as its heading says.
                one.paid_at.astimezone(self._zone).replace(tzinfo=None, microsecond=0),
                one.status.value,
                one.currency,
                _major(one.total_amount, one.currency),
            )
            for one in orders
        )

    def close(self) -> None:
        self._orders.end()
        self._book.close()
