"""`python -m benchmarks.scaling`: reckon docs/scaling.md anew from the measured figures.

The page states the figures it went by, so that whoever has others can put them there and run it with `--from-page`.
"""

import argparse
import re
from dataclasses import dataclass
from math import ceil
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs/scaling.md"
MEASURED = {
    "read of the own account": ("RESULTS.md", "me, F"),
    "list of 20": ("RESULTS.md", "list, F"),
    "booking": ("RESULTS.md", "book, F"),
    "sign-in": ("RESULTS.md", "login, F"),
    "mail job (ARQ)": ("JOBS.md", "ledger on ARQ"),
}
"""The page's name for a figure: where it is measured, and under which name; each is per second and core."""
MIX = {"read of the own account": 0.70, "list of 20": 0.229, "booking": 0.07, "sign-in": 0.001}
"""What a request is: an assumption, like all below."""
JOBS_PER_BOOKING = 1.0
LOAD = 0.6
"""How much of a core is used at the peak: the rest is for what is not even, and for a node that is gone."""
NODE_CORES = 4
POOL = 15
PRICE, DATABASE_PRICE, HOURS = 0.04, 0.10, 730
"""EUR for an hour of a core with its memory, of a managed database's core; hours of a month."""
HEAD = (
    "requests a second",
    "API cores",
    "worker cores",
    "PostgreSQL cores, at most",
    f"nodes of {NODE_CORES} cores",
    "connections without a pooler",
    "EUR a month",
)
TARGETS = (100, 10_000, 1_000_000)

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Need:
    """What so many requests a second need."""

    rate: int
    api_cores: float
    job_cores: float
    database_cores: float
    connections: int

    @property
    def nodes(self) -> int:
        """One more than are filled, so that one may be gone."""
        return ceil((self.api_cores + self.job_cores) / NODE_CORES) + 1

    @property
    def euros(self) -> float:
        """A month of the nodes, and of the database twice: a second one stands by."""
        return HOURS * (self.nodes * NODE_CORES * PRICE + 2 * ceil(self.database_cores) * DATABASE_PRICE)


def measured() -> Figures:
    """The figures of the last `make bench`."""
    return {name: _row((HERE / file).read_text(encoding="utf-8"), row) for name, (file, row) in MEASURED.items()}


def stated(page: str) -> Figures:
    """The figures that the page goes by."""
    return {name: _row(page, name) for name in MEASURED}


def _row(text: str, name: str) -> float:
    found = re.search(rf"^\| {re.escape(name)} *\| *([\d,.]+) *\|", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"there is no row {name!r}")
    return float(found[1].replace(",", ""))


def cost(figures: Figures) -> float:
    """Seconds of an API core for a request of the mix."""
    return sum(part / figures[name] for name, part in MIX.items())


def need(figures: Figures, rate: int) -> Need:
    bookings = rate * MIX["booking"]
    # While the API had its core for itself, PostgreSQL shared another with the load: it took at most as long.
    database = rate * sum(MIX[name] / figures[name] for name in ("list of 20", "booking"))
    jobs = bookings * JOBS_PER_BOOKING / figures["mail job (ARQ)"]
    api, work = rate * cost(figures) / LOAD, jobs / LOAD
    return Need(rate, api, work, (database + jobs) / LOAD, (ceil(api) + ceil(work)) * POOL + ceil(api))


def render(figures: Figures) -> str:
    """Both tables, as they stand in the page."""
    lines = ["| measured, per second and core | |", "|---|---:|"]
    lines += [f"| {name} | {figures[name]:,.4g} |" for name in MEASURED]
    each = cost(figures)
    lines += [
        "",
        f"A request of the mix costs {each * 1000:.2f} ms of an API core: {1 / each:,.0f} a second and core.",
        "",
    ]
    lines += ["| " + " | ".join(HEAD) + " |", "|" + "---:|" * len(HEAD)]
    for rate in TARGETS:
        one = need(figures, rate)
        cores = (ceil(one.api_cores), ceil(one.job_cores), ceil(one.database_cores))
        cells = (rate, *cores, one.nodes, one.connections, round(one.euros))
        lines.append("| " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    return "\n".join(lines)


def rewritten(page: str, figures: Figures) -> str:
    """The page with both tables anew; the rest is not touched."""
    begin, end = "<!-- reckoned: python -m benchmarks.scaling -->\n", "<!-- end -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{PAGE} has lost its marks")
    return before + begin + render(figures) + "\n" + end + after


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--from-page", action="store_true", help="go by the figures that the page states")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(rewritten(page, stated(page) if arguments.from_page else measured()), encoding="utf-8")


if __name__ == "__main__":
    main()
