"""The page of a report: A4, what surrounds it on every page, and its paragraphs. Lengths are in points."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped, unused-ignore]
from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped, unused-ignore]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped, unused-ignore]
from reportlab.platypus import Paragraph, SimpleDocTemplate  # type: ignore[import-untyped, unused-ignore]

from app.services.report_charts import ACCENT, GRID, INK, SOFT
from app.services.report_fonts import Fonts

_PAGE_WIDTH, _PAGE_HEIGHT = A4
_MARGIN = 48
# reportlab's frames keep this distance from their own margin.
_FRAME_PADDING = 6
_SMALL = 9

CONTENT_WIDTH: float = _PAGE_WIDTH - 2 * _MARGIN


def build_pdf(
    story: Sequence[Any], *, fonts: Fonts, title: str, organisation: str, period: str, generated: str
) -> bytes:
    """The flowables as a document: `organisation` and `period` above each page, `generated` and "Page x of y" below."""
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN - _FRAME_PADDING,
        rightMargin=_MARGIN - _FRAME_PADDING,
        topMargin=78,
        bottomMargin=60,
        title=title,
        author=organisation,
        lang="en-GB",
    )
    name = fonts.clipped(organisation, _SMALL, CONTENT_WIDTH - fonts.width(period, _SMALL) - 24)

    def surround(canvas: Any, number: int, total: int) -> None:
        left, right, top, bottom = _MARGIN, _PAGE_WIDTH - _MARGIN, _PAGE_HEIGHT - 44, 34
        _line(canvas, fonts, name, left, top, color=ACCENT)
        _line(canvas, fonts, period, right, top, color=SOFT, right=True)
        _line(canvas, fonts, generated, left, bottom, color=SOFT)
        _line(canvas, fonts, f"Page {number} of {total}", right, bottom, color=SOFT, right=True)
        canvas.setStrokeColor(GRID)
        canvas.setLineWidth(0.8)
        canvas.line(left, top - 9, right, top - 9)
        canvas.line(left, bottom + 14, right, bottom + 14)

    document.build(list(story), canvasmaker=lambda *args, **kwargs: _NumberedCanvas(*args, surround=surround, **kwargs))
    return buffer.getvalue()


def paragraph(
    text: str,
    *,
    fonts: Fonts,
    size: float = 10,
    bold: bool = False,
    right: bool = False,
    color: Any = INK,
    after: float = 0,
) -> Any:
    """Plain text as a paragraph; markup in it is shown, not obeyed, and a word too long for its line is broken."""
    style = ParagraphStyle(
        "text",
        fontName=fonts.bold if bold else fonts.regular,
        fontSize=size,
        leading=size * 1.35,
        alignment=2 if right else 0,
        textColor=color,
        spaceAfter=after,
        splitLongWords=True,
    )
    return Paragraph(fonts.markup(text, bold=bold), style)


class _NumberedCanvas(Canvas):  # type: ignore[misc, unused-ignore]  # reportlab has no types
    """Draws what surrounds a page once the number of pages is known."""

    def __init__(self, *args: Any, surround: Callable[[Any, int, int], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._surround = surround
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab's name
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        pages = self._pages
        for number, page in enumerate(pages, start=1):
            self.__dict__.update(page)
            self._surround(self, number, len(pages))
            super().showPage()
        super().save()


def _line(canvas: Any, fonts: Fonts, text: str, x: float, y: float, *, color: Any, right: bool = False) -> None:
    canvas.setFillColor(color)
    x -= fonts.width(text, _SMALL) if right else 0
    for font, part in fonts.runs(text):
        canvas.setFont(font, _SMALL)
        canvas.drawString(x, y, part)
        x += fonts.run_width(font, part, _SMALL)
