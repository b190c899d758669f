"""The table of ratios, in the terminal and in RESULTS.md."""

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from textwrap import fill

from benchmarks.measures import LATER, LOGIN_CLIENTS, PAGE, PAUSE, STALL_CLIENTS, Results, Windows
from benchmarks.servers import Cores
from benchmarks.stage import APPOINTMENTS, CLIENTS
from benchmarks.stats import Sample
from benchmarks.verdicts import Verdict, at_least, at_most, table, verdict_table

LIBRARIES = ("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools", "sqlalchemy", "asyncpg", "libpass")
MEGABYTES, SECONDS = "MB", "s"
QUIET = 0.85


def verdicts(results: Results) -> list[Verdict]:
    rate, start = _Rates(results), median(results.start_me)
    found = [
        at_least("GET /users/me: F over T", rate("me", "F", "T"), 1.7),
        at_least("GET /users/me: F over A", rate("me", "F", "A"), 0.5),
        at_least("list of 20: F over T with count", rate("list", "F", "T"), 2),
        at_most(f"page {PAGE:,} over page 1, median latency", _later_page(results), 1.2),
        at_least("POST /appointments: F over T's bare insert", rate("book", "F", "T"), 0.6),
        at_least("POST /webhooks/payments: F over W's bare insert", rate("webhook", "F", "W"), 0.8),
        at_most("20,000 webhooks at full speed: lost", results.burst_lost, 0),
        Verdict("20,000 webhooks at full speed", results.burst_seconds, SECONDS),
        Verdict("login alone: F over T's plain threads", rate("login", "F", "T")),
        at_most("stall: p99 of steady me beside logins over alone", _stall(results, "steady me", "F"), 1.5),
        at_least("login beside steady me: F over T", rate("login beside steady me", "F", "T"), 0.4),
        Verdict("stall of T's plain threads", _stall(results, "steady me", "T")),
        Verdict("stall when readers never pause", _stall(results, "me", "F")),
        Verdict("login beside those: F over T", rate("login beside me", "F", "T")),
        Verdict("stall of T's plain threads then", _stall(results, "me", "T")),
        at_most(
            f"slowest answer at {CLIENTS} clients", results.slowest("F", "me", "list", "book", "webhook"), 1, SECONDS
        ),
        at_most("start to first 200 of /users/me", start, 2.5, SECONDS),
        Verdict("start to first 200 of /health/live", median(results.start_live), SECONDS),
    ]
    if "VmRSS" in results.memory:
        found.append(at_most("resident size after the load", results.memory["VmRSS"], 130, MEGABYTES))
    return found


class _Rates:
    """The median over the rounds of the rounds' own ratios: what it compares was measured within seconds."""

    def __init__(self, results: Results) -> None:
        self._samples = results.samples

    def __call__(self, measure: str, over: str, under: str) -> float:
        pairs = zip(self._samples[measure, over], self._samples[measure, under], strict=True)
        return median(one.rate / other.rate if other.rate else float("inf") for one, other in pairs)


def _later_page(results: Results) -> float:
    pairs = zip(results.samples[LATER, "F"], results.samples["page 1", "F"], strict=True)
    return median(later.p50 / first.p50 for later, first in pairs)


def _stall(results: Results, readers: str, name: str) -> float:
    return results.of(f"{readers} beside logins", name, _p99) / results.of(f"{readers} alone", name, _p99)


def _p50(sample: Sample) -> float:
    return sample.p50


def _p99(sample: Sample) -> float:
    return sample.p99


def quiet(results: Results) -> str:
    """How much of its core a contender under full load had; what is missing, somebody else had or nobody asked for."""
    if not results.core_shares:
        return "How much of its core a contender had is not known on this system."
    share = median(results.core_shares)
    judgement = "" if share >= QUIET else " The machine was busy with something else: run it again."
    return f"A contender under full load had {share:.0%} of its core (the median of all windows).{judgement}"


def figures(results: Results) -> str:
    """What each contender did, for comparison within this run only."""
    rows = []
    for (measure, name), samples in results.samples.items():
        rate, slowest = results.rate(measure, name), max(sample.slowest for sample in samples)
        seconds = (results.of(measure, name, _p50), results.of(measure, name, _p99), slowest)
        shown = f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"
        rows.append((f"{measure}, {name}", shown, *(f"{one * 1000:.1f}" for one in seconds)))
    return table(("measure, contender", "per second", "p50 ms", "p99 ms", "slowest ms"), rows)


def document(results: Results, windows: Windows, cores: Cores, *, cpu_count: int) -> str:
    """RESULTS.md; it names no machine and no path."""
    shown = verdicts(results)
    missed = [one.what for one in shown if one.met is False]
    outcome = f"Missed: {'; '.join(missed)}." if missed else "All targets are met."
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    memory = ", ".join(f"{key} {value:.0f} MB" for key, value in results.memory.items()) or "unknown"
    system = f"{platform.system()} {platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    return f"""# Benchmark

Measured on {datetime.now(UTC):%Y-%m-%d} by `make bench`, which writes this page anew. {outcome}

{verdict_table(shown)}

{fill(WHO, 118)}

## How

{_bullets(windows, cores)}

Reproduce: `make bench`, or `make bench ARGS=--quick` for a first impression; nothing else should run on the machine.

## Figures of this run

They mean something beside each other only, not beside those of another machine or another day.

{figures(results)}

{quiet(results)}

Machine: {cpu_count} cores, {system}.
Memory of F after the load: {memory}.
Libraries: {libraries}.
"""


WHO = """F is Frontdesk, `python -m app api` with `ENVIRONMENT=production` and without packages that only developers
have (`benchmarks/shipped.py`), and with all that goes with it: metrics in multi-process files, a JSON access log
written to a file, request ids, security headers, allowed hosts, CORS, trusted proxies, the limit on failed sign-ins,
sessions that can be revoked, the job that each booking enqueues. T is textbook FastAPI with a SQLAlchemy session per
request and a JWT, A is FastAPI on a bare asyncpg pool with a JWT; neither has anything else (`benchmarks/floors/`). W
is FastAPI on a bare asyncpg pool that checks a webhook's signature and inserts it, where F also enqueues the job that
handles it. Where T reads the user and writes the row, F also reads the doctor under a lock, checks the hours and
enqueues a mail."""


def _bullets(windows: Windows, cores: Cores) -> str:
    pinned = (
        "The contenders are pinned to one core; the load generator, PostgreSQL and Valkey share the other, so that a "
        "contender has its core alone, whoever it is."
    )
    said = [
        f"One process per contender, all up at once, loaded in turns of seconds; rounds: {windows.rounds}. A ratio "
        "is the median of the rounds' own ratios, a stall the ratio of the rounds' medians, the slowest answer the "
        "slowest of all. Same database, same tables, as many connections, same uvicorn (uvloop, httptools, one worker, "
        "no access log of its own).",
        pinned if cores.server is not None else "Nothing is pinned: this machine has one core, or can't.",
        f"PostgreSQL with its default durability (a commit waits for the disk), {APPOINTMENTS:,} appointments.",
        f"A closed loop of {CLIENTS} clients on kept-alive connections.",
        f"The stall figure has {STALL_CLIENTS} steady readers, who pause {PAUSE * 1000:.0f} ms between an answer and "
        f"the next request, alone and then beside {LOGIN_CLIENTS} clients that log in without pause; bcrypt has its "
        "production cost. It is also shown for readers who never pause: they take the whole core, so what logins get "
        "of it slows every reader, and 0.4 of the logins of plain threads, a third of the core, makes at least 1.5.",
        "The row `hello` is the generator against a server that does nothing: it drives far more than anybody answers.",
    ]
    return "\n".join(fill(f"- {one}", 118, subsequent_indent="  ") for one in said)
