"""The revenue report as a document for people: for each currency key figures, a chart and a table."""

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from reportlab.lib.colors import white  # type: ignore[import-untyped, unused-ignore]
from reportlab.platypus import (  # type: ignore[import-untyped, unused-ignore]
    CondPageBreak,
    KeepTogether,
    LongTable,
    Spacer,
)

from app.core.money import CURRENCIES, say_money
from app.schemas.reports import DayRevenue, RevenueReport
from app.services.report_charts import SOFT, Column, column_chart
from app.services.report_fonts import Fonts, load_fonts
from app.services.report_page import CONTENT_WIDTH, build_pdf, paragraph
from app.services.report_pdf import (
    TABLE_STYLE,
    column_label,
    column_start,
    column_unit,
    figure_panel,
    say_day,
    say_period,
)

_TABLE_START = 110
# Twelve digits and signs fit into a quarter of the page.
_FIGURE = 14
_HEADINGS = ("Orders", "Gross", "Refunded", "Net")


def render_revenue_pdf(report: RevenueReport) -> bytes:
    """The report as PDF. Pure computation that takes up to a second: for a worker, not for the event loop."""
    fonts = load_fonts()
    local = report.generated_at.astimezone(ZoneInfo(report.timezone))
    period = say_period(report.from_day, report.to_day)
    story = [
        paragraph("Revenue report", fonts=fonts, size=22, bold=True, after=4),
        paragraph(f"{period}, {report.clinic_name[:120]}", fonts=fonts, size=10.5, color=SOFT, after=16),
    ]
    for total in report.totals:
        story += _currency(report, total, fonts)
    if not report.days:
        story += [
            paragraph("Nothing to report for this period", fonts=fonts, size=13, bold=True, after=4),
            paragraph("No order was paid. Once some are, the figures, charts and tables appear here.", fonts=fonts),
        ]
    return build_pdf(
        story,
        fonts=fonts,
        title=f"Revenue report, {period}",
        organisation=report.clinic_name,
        period=period,
        generated=f"Generated {say_day(local.date())}, {local:%H:%M} ({report.timezone})",
    )


def _currency(report: RevenueReport, total: DayRevenue, fonts: Fonts) -> list[Any]:
    currency = total.currency
    figures = (
        ("Net", _number(total.net, currency), f"{currency}, what was kept"),
        ("Gross", _number(total.gross, currency), f"{currency}, what was paid"),
        ("Refunded", _number(total.refunded, currency), f"{currency}, of what was paid"),
        ("Orders", f"{total.orders:,}", "paid in the period"),
    )
    unit, columns = _columns(report, currency)
    scale = 10 ** CURRENCIES[currency]
    chart = [Column(column_label(unit, start), gross / scale, net / scale) for start, (_, gross, net) in columns]
    return [
        figure_panel(figures, fonts, size=_FIGURE),
        Spacer(1, 22),
        KeepTogether(
            [
                paragraph(f"Revenue by {unit}, in {currency}", fonts=fonts, size=13, bold=True, after=6),
                column_chart(chart, fonts=fonts, width=CONTENT_WIDTH, unit="", legend=("Net", "Gross")),
                Spacer(1, 22),
            ]
        ),
        *_table(unit, columns, currency, fonts),
        Spacer(1, 28),
    ]


def _number(amount: int, currency: str) -> str:
    return say_money(amount, currency).partition(" ")[0]


def _columns(report: RevenueReport, currency: str) -> tuple[str, list[tuple[date, tuple[int, int, int]]]]:
    """The unit and, for each of its spans in order, (orders, gross, net); the empty ones included."""
    length = (report.to_day - report.from_day).days
    unit = column_unit(length)
    starts = {column_start(unit, report.from_day + timedelta(days=offset)) for offset in range(length)}
    sums = {start: [0, 0, 0] for start in starts}
    for day in report.days:
        if day.currency == currency:
            span = sums[column_start(unit, day.day)]
            for place, value in enumerate((day.orders, day.gross, day.net)):
                span[place] += value
    return unit, [(start, (span[0], span[1], span[2])) for start, span in sorted(sums.items())]


def _table(unit: str, columns: list[tuple[date, tuple[int, int, int]]], currency: str, fonts: Fonts) -> list[Any]:
    rows = [
        [_cell(unit.capitalize(), fonts, head=True), *(_cell(one, fonts, head=True, right=True) for one in _HEADINGS)]
    ]
    for start, (orders, gross, net) in columns:
        if orders:
            amounts = (say_money(amount, currency) for amount in (gross, gross - net, net))
            label = say_day(start) if unit != "month" else f"{start:%B %Y}"
            cells = (_cell(text, fonts, right=True) for text in (f"{orders:,}", *amounts))
            rows.append([_cell(label if unit != "week" else f"from {label}", fonts), *cells])
    return [
        CondPageBreak(_TABLE_START),
        LongTable(rows, colWidths=[CONTENT_WIDTH / 5] * 5, repeatRows=1, style=TABLE_STYLE),
    ]


def _cell(text: str, fonts: Fonts, *, head: bool = False, right: bool = False) -> Any:
    if head:
        return paragraph(text, fonts=fonts, size=7.5, bold=True, right=right, color=white)
    return paragraph(text, fonts=fonts, size=7.5, right=right)
