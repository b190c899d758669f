"""The drawings of the utilisation report. Lengths are in points."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from reportlab.graphics.shapes import (  # type: ignore[import-untyped, unused-ignore]
    Drawing,
    Line,
    Rect,
    String,
)
from reportlab.lib.colors import HexColor  # type: ignore[import-untyped, unused-ignore]

from app.services.report_fonts import Fonts

ACCENT = HexColor("#0f6b5f")
TRACK = HexColor("#d5e3e1")
INK = HexColor("#1d2b2f")
SOFT = HexColor("#5f7176")
GRID = HexColor("#e3eaea")

_LABEL_SIZE = 8
_BAR_STEP = 17
_BAR_HEIGHT = 9
_LABEL_WIDTH = 150
_PERCENT_WIDTH = 38
_PLOT_HEIGHT = 120
_AXIS_WIDTH = 34
_WIDEST_COLUMN = 34


@dataclass(frozen=True)
class Bar:
    """A row of the horizontal chart; `share` is 1.0 for the full length, more is drawn as full."""

    label: str
    share: float


@dataclass(frozen=True)
class Column:
    """A stretch of time: booked hours drawn in front of available hours."""

    label: str
    available_hours: float
    booked_hours: float


def bar_chart(bars: Sequence[Bar], *, fonts: Fonts, width: float) -> Any:
    """Utilisation from 0 to 100 %, one bar under the other; a label too long is clipped."""
    height = _BAR_STEP * len(bars)
    drawing = Drawing(width, height)
    length = width - _LABEL_WIDTH - _PERCENT_WIDTH
    for index, bar in enumerate(bars):
        baseline = height - _BAR_STEP * (index + 1) + 5
        label = fonts.clipped(bar.label, _LABEL_SIZE, _LABEL_WIDTH - 10)
        _text(drawing, label, _LABEL_WIDTH - 10, baseline, fonts=fonts, anchor="end", color=INK)
        drawing.add(_bar(_LABEL_WIDTH, baseline - 2, length, _BAR_HEIGHT, TRACK))
        if bar.share > 0:
            drawing.add(_bar(_LABEL_WIDTH, baseline - 2, length * min(bar.share, 1.0), _BAR_HEIGHT, ACCENT))
        _text(drawing, f"{bar.share:.0%}", width, baseline, fonts=fonts, anchor="end", color=INK)
    return drawing


def column_chart(
    columns: Sequence[Column],
    *,
    fonts: Fonts,
    width: float,
    unit: str = "h",
    legend: tuple[str, str] = ("Booked", "Available"),
) -> Any:
    """Hours, or another `unit`, over time, from zero to a round number; of the labels below, as many as don't touch."""
    drawing = Drawing(width, _PLOT_HEIGHT + 44)
    bottom = 18
    highest = max((max(column.available_hours, column.booked_hours) for column in columns), default=0)
    step = _round_step(highest)
    ticks = max(1, ceil(highest / step))
    for tick in range(ticks + 1):
        y = bottom + _PLOT_HEIGHT * tick / ticks
        drawing.add(Line(_AXIS_WIDTH, y, width, y, strokeColor=GRID, strokeWidth=0.6))
        _text(drawing, f"{tick * step:,.10g} {unit}", _AXIS_WIDTH - 6, y - 3, fonts=fonts, anchor="end", color=SOFT)
    pitch = (width - _AXIS_WIDTH) / max(1, len(columns))
    thickness = min(pitch * 0.72, _WIDEST_COLUMN)
    widest = max((fonts.width(column.label, _LABEL_SIZE) for column in columns), default=0)
    every = max(1, ceil((widest + 8) / pitch))
    for index, column in enumerate(columns):
        middle = _AXIS_WIDTH + pitch * (index + 0.5)
        for hours, color in ((column.available_hours, TRACK), (column.booked_hours, ACCENT)):
            if hours > 0:
                tall = _PLOT_HEIGHT * hours / (ticks * step)
                drawing.add(_bar(middle - thickness / 2, bottom, thickness, tall, color))
        # The last one that fits is kept off the edge of the page.
        if index % every == 0 and middle + widest / 2 <= width + 6:
            _text(drawing, column.label, middle, 5, fonts=fonts, anchor="middle", color=SOFT)
    _legend(drawing, legend, fonts=fonts, y=_PLOT_HEIGHT + 32)
    return drawing


def _legend(drawing: Any, labels: tuple[str, str], *, fonts: Fonts, y: float) -> None:
    x: float = _AXIS_WIDTH
    for label, color in zip(labels, (ACCENT, TRACK), strict=True):
        drawing.add(_bar(x, y, 8, 8, color))
        _text(drawing, label, x + 12, y + 1, fonts=fonts, anchor="start", color=SOFT)
        x += 12 + fonts.width(label, _LABEL_SIZE) + 16


def _bar(x: float, y: float, width: float, height: float, color: Any) -> Any:
    return Rect(x, y, width, height, fillColor=color, strokeColor=None, strokeWidth=0)


def _text(drawing: Any, text: str, x: float, y: float, *, fonts: Fonts, anchor: str, color: Any) -> None:
    # Placed run by run: a String has one font, and a name may need two.
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
    x -= fonts.width(text, _LABEL_SIZE) * shift
    for font, part in fonts.runs(text):
        drawing.add(String(x, y, part, fontName=font, fontSize=_LABEL_SIZE, fillColor=color))
        x += fonts.run_width(font, part, _LABEL_SIZE)


def _round_step(highest: float) -> float:
    """The distance of grid lines: 1, 2 or 5 times a power of ten, for at most five of them."""
    if highest <= 0:
        return 1
    rough = highest / 5
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
