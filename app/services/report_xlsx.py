"""Reports as workbooks: real numbers and dates, a frozen head, and rows that pass through without being kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import xlsxwriter  # type: ignore[import-untyped, unused-ignore]

LAST_ROW = 1_000_000
"""Rows of one sheet; Excel ends at 1,048,576."""
_LONGEST_TEXT = 32_767
_WIDTHS = {"text": 28, "day": 12, "moment": 18, "number": 14, "share": 12, "money": 14}
_FORMATS = {
    "text": {},
    "day": {"num_format": "yyyy-mm-dd", "align": "left"},
    "moment": {"num_format": "yyyy-mm-dd hh:mm", "align": "left"},
    "number": {"num_format": "#,##0"},
    "share": {"num_format": "0.0%"},
    "money": {"num_format": "#,##0.00"},
}


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its heading, and what its cells are (a key of the formats)."""

    heading: str
    kind: str = "text"


class Workbook:
    """An `.xlsx` written row by row to a file beside `path`, whatever its length in constant memory.

    Everything blocks and belongs in a thread. Text is text: nothing in it is taken for a formula, a number or a link.
    """

    def __init__(self, path: Path, *, title: str, organisation: str) -> None:
        self._book = xlsxwriter.Workbook(
            str(path),
            {
                "constant_memory": True,
                "tmpdir": str(path.parent),
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        self._book.set_properties({"title": title, "author": organisation})
        self._formats = {kind: self._book.add_format(form) for kind, form in _FORMATS.items()}
        self._head = self._book.add_format(
            {"bold": True, "font_color": "#ffffff", "bg_color": "#0f6b5f", "text_wrap": True, "valign": "top"}
        )
        self._bold = self._book.add_format({"bold": True})

    def add_facts(self, name: str, facts: Iterable[tuple[str, str, Any]]) -> None:
        """A sheet of (label, kind, value), one below the other."""
        sheet = self._book.add_worksheet(name)
        sheet.set_column(0, 0, 26)
        sheet.set_column(1, 1, 34)
        for row, (label, kind, value) in enumerate(facts):
            sheet.write_string(row, 0, label, self._bold)
            self._write(sheet, row, 1, value, kind)

    def table(self, name: str, fields: Sequence[Field]) -> "Sheet":
        """A table, to be filled before the next one is begun; it goes on in a further sheet where one is full."""
        return Sheet(self, name, fields)

    def close(self) -> None:
        """Write the file."""
        self._book.close()

    def begin(self, name: str, fields: Sequence[Field]) -> Any:
        sheet = self._book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        for column, field in enumerate(fields):
            sheet.set_column(column, column, _WIDTHS[field.kind])
            sheet.write_string(0, column, field.heading, self._head)
        return sheet

    def finish(self, sheet: Any, *, rows: int, columns: int) -> None:
        sheet.autofilter(0, 0, rows, columns - 1)

    def write(self, sheet: Any, row: int, values: Sequence[Any], fields: Sequence[Field]) -> None:
        for column, (value, field) in enumerate(zip(values, fields, strict=True)):
            self._write(sheet, row, column, value, field.kind)

    def _write(self, sheet: Any, row: int, column: int, value: Any, kind: str) -> None:
        form = self._formats[kind]
        if value is None:
            return
        if isinstance(value, date | datetime):
            sheet.write_datetime(row, column, value, form)
        elif isinstance(value, str):
            sheet.write_string(row, column, value[:_LONGEST_TEXT], form)
        else:
            sheet.write_number(row, column, value, form)


class Sheet:
    """A table that is being filled."""

    def __init__(self, book: Workbook, name: str, fields: Sequence[Field]) -> None:
        self._book, self._name, self._fields = book, name, fields
        self._sheet = book.begin(name, fields)
        self._number, self._row = 1, 0

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        for values in rows:
            if self._row == LAST_ROW:
                self.end()
                self._number, self._row = self._number + 1, 0
                self._sheet = self._book.begin(f"{self._name} {self._number}", self._fields)
            self._row += 1
            self._book.write(self._sheet, self._row, values, self._fields)

    def end(self) -> None:
        self._book.finish(self._sheet, rows=self._row, columns=len(self._fields))
