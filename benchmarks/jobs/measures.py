"""What is measured of the ledger: drains, the way from a commit to a start, and what it costs to stand still."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import asyncpg
from redis.asyncio import Redis
from sqlalchemy import text

from app.config import Settings, get_settings
from app.core.database import Database
from app.core.jobs import enqueue
from app.core.memory import settle
from app.core.wakeup import RedisWaker, use_waker
from app.tasks.attempt import Runner
from benchmarks.jobs.contenders import BareArq, BareCelery, Ledger, Process
from benchmarks.jobs.noop import CpuNoop, CpuStarted, Noop, Started, nothing
from benchmarks.jobs.stage import JobStage
from benchmarks.stats import percentile

SLOTS = 20
POLL, DEFAULT_POLL = "0.05", "0.5"
FINISHED_ROWS = 1_000_000
QUIET_SECONDS = 60
_ROW = """
    INSERT INTO jobs (name, queue, priority, payload, max_attempts) VALUES ($1, $2, $3, $4, $5) RETURNING id
"""
TURN = 50
"""How many claims in one of the databases before it is the other's turn: both then meet the same noise."""


@dataclass(frozen=True, slots=True)
class Sizes:
    rounds: int
    arq: int
    celery: int
    latencies: int
    enqueues: int
    claims: int
    finished: int


FULL = Sizes(rounds=3, arq=3000, celery=1500, latencies=150, enqueues=1000, claims=1500, finished=FINISHED_ROWS)
QUICK = Sizes(rounds=1, arq=1000, celery=400, latencies=40, enqueues=300, claims=300, finished=100_000)


@dataclass
class Results:
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    claims: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    idle: float = 0

    def ratio(self, over: str, under: str) -> float:
        """The median of the rounds' own ratios: what it compares was measured within seconds."""
        return median(one / other for one, other in zip(self.rates[over], self.rates[under], strict=True))


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    into.append(time.perf_counter() - began)


class Run:
    def __init__(self, stage: JobStage, sizes: Sizes, say: Callable[[str], None]) -> None:
        self.stage, self.sizes, self.say = stage, sizes, say
        self.results = Results()
        self._rng = random.Random(1)  # noqa: S311 - pauses, not secrets

    async def all(self) -> None:
        # As every process of the service does: this one stands for the API.
        settle()
        settings = get_settings()
        database = Database(settings.database, role="api")
        connection = await asyncpg.connect(self.stage.dsn)
        redis: Redis = Redis.from_url(self.stage.valkey.url)
        use_waker(RedisWaker(redis))
        try:
            self.say("enqueueing inside a transaction")
            with self.stage.own_core():
                await self._enqueues(database, connection)
            self.say("I/O: the ledger on ARQ beside ARQ")
            await self._io(database, connection, redis)
            self.say("CPU: the ledger on Celery beside Celery")
            await self._cpu(database, connection, redis)
            self.say(f"standing still for {QUIET_SECONDS} s")
            self.results.idle = await self._idle(connection)
            self.say(f"claiming beside {self.sizes.finished:,} finished rows")
            with self.stage.own_core():
                await self._claims(settings)
        finally:
            use_waker(None)
            await redis.aclose()
            await connection.close()
            await database.close()

    def _pause(self) -> float:
        return self._rng.uniform(0.03, 0.12)

    async def _enqueues(self, database: Database, connection: "asyncpg.Connection[object]") -> None:
        """What a request pays for a job, its transaction being open anyway, beside the least that it could be."""
        taken = self.results.seconds
        for _ in range(self.sizes.enqueues):
            async with database.session_scope() as session:
                await session.execute(text("SELECT 1"))
                with timed(taken["enqueue in a transaction"]):
                    await enqueue(session, Noop())
                with timed(taken["SELECT 1 in a transaction"]):
                    await session.execute(text("SELECT 1"))
            async with connection.transaction():
                await connection.fetch("SELECT 1")
                with timed(taken["the same row through bare asyncpg"]):
                    await connection.fetch(_ROW, Noop.name, Noop.queue, 0, "{}", 1)
        async with database.session_scope() as session:
            await session.execute(text("TRUNCATE jobs"))

    async def _io(self, database: Database, connection: "asyncpg.Connection[object]", redis: Redis) -> None:
        url = self.stage.valkey.url
        bare_process = self.stage.bare("arq", url, POLL, str(SLOTS))
        worker = await self.stage.worker()
        ledger, bare = Ledger(database, connection, [worker]), BareArq(url, redis, bare_process)
        for _ in range(self.sizes.rounds):
            self.results.rates["bare ARQ"].append(await bare.drain(self.sizes.arq))
            self.results.rates["ledger on ARQ"].append(await ledger.drain(Noop(), self.sizes.arq))
        bare_process.stop()
        self.results.seconds["commit to start, ledger on ARQ"] = await ledger.latencies(
            Started(), self.sizes.latencies, self._pause
        )
        slow = self.stage.bare("arq", url, DEFAULT_POLL, str(SLOTS))
        await asyncio.sleep(2)
        self.results.seconds["sent to start, bare ARQ by default"] = await BareArq(url, redis, slow).latencies(
            self.sizes.latencies, self._pause
        )
        slow.stop()
        self.stage.stop(worker)

    async def _cpu(self, database: Database, connection: "asyncpg.Connection[object]", redis: Redis) -> None:
        url = self.stage.valkey.url
        bare_process = self.stage.bare("celery", url)
        # The relay of the ledger's side lives in the I/O worker, which shares the other core with the engines.
        worker, celery = await self.stage.worker(rest=True), await self.stage.celery()
        ledger, bare = Ledger(database, connection, [worker, celery]), BareCelery(url, redis, bare_process)
        for _ in range(self.sizes.rounds):
            self.results.rates["bare Celery"].append(await bare.drain(self.sizes.celery))
            self.results.rates["ledger on Celery"].append(await ledger.drain(CpuNoop(), self.sizes.celery))
        self.results.seconds["commit to start, ledger on Celery"] = await ledger.latencies(
            CpuStarted(), self.sizes.latencies, self._pause
        )
        self.results.seconds["sent to start, bare Celery"] = await bare.latencies(self.sizes.latencies, self._pause)
        bare_process.stop()

    async def _idle(self, connection: "asyncpg.Connection[object]") -> float:
        """Statements a second that the whole system sends while nobody asks for anything, BEGIN and COMMIT included."""
        await self.stage.api()
        await connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        await connection.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(2)
        begin = len(self.stage.statements())
        await asyncio.sleep(QUIET_SECONDS)
        number = len(self.stage.statements()) - begin
        await connection.execute("ALTER SYSTEM RESET log_statement")
        await connection.execute("SELECT pg_reload_conf()")
        return number / QUIET_SECONDS

    async def _claims(self, settings: Settings) -> None:
        """Publication and claim of jobs in two databases, of which one also holds the finished rows, in turns."""
        self.stage.stop_all()
        databases: dict[str, Database] = {}
        for name, rows in (("empty", 0), ("full", self.sizes.finished)):
            databases[name] = await self.stage.other_database(settings, name, finished=rows)
        runners = {name: Runner(database, {Noop: nothing}, settings.jobs) for name, database in databases.items()}
        for _ in range(0, self.sizes.claims, TURN):
            for name, runner in runners.items():
                self.results.claims[name] += await self.stage.claims(databases[name], runner, TURN)
        for database in databases.values():
            await database.close()


def p50(values: list[float]) -> float:
    return percentile(values, 50)


def p99(values: list[float]) -> float:
    return percentile(values, 99)


__all__ = ["FULL", "QUICK", "Process", "Results", "Run", "Sizes", "p50", "p99"]
