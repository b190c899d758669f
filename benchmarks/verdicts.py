"""Targets, and whether a run has met them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure beside its target; without a limit it is for information."""

    what: str
    value: float
    unit: str = ""
    limit: float | None = None
    sense: Literal["at least", "at most"] = "at least"

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        return self.value >= self.limit if self.sense == "at least" else self.value <= self.limit

    @property
    def target(self) -> str:
        if self.limit is None:
            return "–"
        return f"{'≥' if self.sense == 'at least' else '≤'} {self.limit:g}{self._unit}"

    @property
    def word(self) -> str:
        return {True: "met", False: "MISSED", None: "–"}[self.met]

    @property
    def figure(self) -> str:
        return f"{self.value:.2f}{self._unit}" if self.value < 100 else f"{self.value:.0f}{self._unit}"

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


def at_least(what: str, value: float, limit: float, unit: str = "") -> Verdict:
    return Verdict(what, value, unit, limit, "at least")


def at_most(what: str, value: float, limit: float, unit: str = "") -> Verdict:
    return Verdict(what, value, unit, limit, "at most")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is also aligned to be read in a terminal; columns after the first to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(aligned)} |"

    rule = [("-" * (width - 1) + ":") if at else "-" * width for at, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    rows = [(one.what, one.figure, one.target, one.word) for one in verdicts]
    return table(("what", "measured", "target", "verdict"), rows)
