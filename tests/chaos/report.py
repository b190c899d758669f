"""The table of faults, in the terminal and in docs/reliability.md."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.verdicts import table


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fault did, and what had to hold and did not."""

    name: str
    what: str
    runs: int
    accepted: int
    failed: int
    worst: float
    slowest: str
    within: float
    holds: str
    broken: Sequence[str]

    @property
    def word(self) -> str:
        return "BROKEN" if self.broken else "held"


def outcomes_table(outcomes: Sequence[Outcome]) -> str:
    rows = [
        (
            f"{one.what} (`{one.name}`)",
            one.holds,
            str(one.runs),
            f"{one.accepted:,}",
            f"{one.worst:.1f} s",
            f"{one.within:g} s",
            one.word,
        )
        for one in outcomes
    ]
    head = ("fault", "property", "runs", "jobs accepted", "worst recovery", "allowed", "verdict")
    return table(head, rows)
