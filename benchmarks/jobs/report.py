"""The page of the job measures."""

from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from benchmarks.jobs.measures import SLOTS, TURN, Results, Sizes, p50, p99
from benchmarks.verdicts import Verdict, at_least, at_most, table, verdict_table

LIBRARIES = ("arq", "celery", "kombu", "redis", "sqlalchemy", "asyncpg")
IO, CPU = "commit to start, ledger on ARQ", "commit to start, ledger on Celery"


def verdicts(results: Results) -> list[Verdict]:
    def milliseconds(name: str, figure: object) -> float:
        return (p50 if figure is p50 else p99)(results.seconds[name]) * 1000

    slower = (p50(results.claims["full"]) / p50(results.claims["empty"]) - 1) * 100
    return [
        at_least(
            "drain: the ledger on ARQ over bare ARQ at a 50 ms poll", results.ratio("ledger on ARQ", "bare ARQ"), 0.5
        ),
        at_least("drain: the ledger on Celery over bare Celery", results.ratio("ledger on Celery", "bare Celery"), 0.6),
        at_most("commit to start on ARQ, p50", milliseconds(IO, p50), 30, "ms"),
        at_most("commit to start on ARQ, p99", milliseconds(IO, p99), 100, "ms"),
        at_most("commit to start on Celery, p50", milliseconds(CPU, p50), 30, "ms"),
        at_most("commit to start on Celery, p99", milliseconds(CPU, p99), 100, "ms"),
        at_most("enqueueing inside a transaction, p50", milliseconds("enqueue in a transaction", p50), 0.5, "ms"),
        at_most("a claim beside the finished rows: slower by", slower, 10, "%"),
        at_most("statements a second while idle", results.idle, 5),
    ]


def figures(results: Results) -> str:
    rates = [(name, f"{median(values):,.0f}", "", "") for name, values in results.rates.items()]
    seconds = {**results.seconds, **{f"publish, claim, complete: {name}": one for name, one in results.claims.items()}}
    waits = [(name, "", f"{p50(one) * 1000:.2f}", f"{p99(one) * 1000:.2f}") for name, one in seconds.items()]
    return table(("measure", "jobs a second", "p50 ms", "p99 ms"), [*rates, *waits])


def document(results: Results, sizes: Sizes) -> str:
    shown = verdicts(results)
    missed = [one.what for one in shown if one.met is False]
    outcome = f"Missed: {'; '.join(missed)}." if missed else "Every target is met."
    return f"""# Benchmark of the jobs

Measured on {datetime.now(UTC):%Y-%m-%d} by `make bench ARGS=jobs`, which writes this page anew. {outcome}

{verdict_table(shown)}

## How

- The bare engines run a function that does nothing: ARQ's own worker at a 50 ms poll with {SLOTS} slots, Celery with
  one prefork child and its defaults, except that no result is kept. The ledger runs a job that does nothing through
  all that a real one goes through: accepted in PostgreSQL, published by the relay, claimed, its lease watched,
  completed, logged and counted. PostgreSQL has its default durability.
- A drain starts with {sizes.arq:,} (Celery: {sizes.celery:,}) waiting jobs while the processes stand still, and ends
  when the last is done. Bare, the messages are in Redis already; of the ledger's none is published. In turns, rounds:
  {sizes.rounds}; a ratio is the median of the rounds' own.
- What is measured has a core to itself: a worker, or the benchmark's own process for enqueueing and claims. PostgreSQL,
  Valkey, and for Celery the relay, share the other.
- Commit to start: one job at a time on an idle system, from the return of the commit to the first line of the body.
- Claims: publication, claim and completion of single jobs, in turns of {TURN} in two databases, one with
  {sizes.finished:,} finished rows. This and the enqueueing run on uvloop and with the service's
  garbage collector, as the API does.
- Idle: API, worker and Celery run, nobody asks for anything; BEGIN and COMMIT count.

## Figures of this run

They mean something beside each other only, not beside those of another machine or another day.

{figures(results)}

Libraries: {", ".join(f"{name} {version(name)}" for name in LIBRARIES)}.
"""
