"""The ledger and the bare engines, each filled while it stands still, then timed until it has nothing left."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import asyncpg
from celery import Celery
from redis.asyncio import Redis

from app.core.database import Database
from app.core.jobs import JobMessage, enqueue_many
from benchmarks.jobs.bare import ARQ_QUEUE, CELERY_QUEUE, STARTS, arq_pool, celery_app
from benchmarks.servers import ROOT, BenchmarkError, pin

PATIENCE = 120.0
BATCH = 500


class Process:
    """One process with its children, on a core of its own or none."""

    def __init__(
        self, name: str, arguments: Sequence[str], *, env: Mapping[str, str], core: int | None, log: Path
    ) -> None:
        self.name, self._core, self._log = name, core, log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments], env=dict(env), cwd=ROOT, stdout=out, stderr=out
            )
        pin(self._process.pid, core)

    def _pids(self) -> list[int]:
        pid = self._process.pid
        with suppress(OSError):
            return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        return [pid]

    def stand_still(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        for pid in reversed(self._pids()):
            os.kill(pid, signal.SIGCONT)

    def check(self) -> None:
        if self._process.poll() is not None:
            raise BenchmarkError(f"{self.name} ended:\n{self._log.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


async def until(done: Callable[[], Awaitable[bool]], processes: Sequence[Process], *, every: float = 0.01) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await done():
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not done after {PATIENCE:g} s: {', '.join(one.name for one in processes)}")
        await asyncio.sleep(every)


class Ledger:
    """Jobs of the service: accepted in the database, published by its relay, run by its worker."""

    def __init__(self, database: Database, connection: "asyncpg.Connection[Any]", processes: Sequence[Process]) -> None:
        self._database, self._connection, self._processes = database, connection, processes

    async def accept(self, message: JobMessage, number: int) -> list[int]:
        ids: list[int] = []
        for start in range(0, number, BATCH):
            async with self._database.session_scope() as session:
                ids += await enqueue_many(session, [message] * min(BATCH, number - start))
        return ids

    async def drain(self, message: JobMessage, number: int) -> float:
        """Jobs per second, from the moment the processes go on until the last one is recorded as succeeded."""
        for process in self._processes:
            process.stand_still()
        await self.accept(message, number)
        began = time.perf_counter()
        for process in self._processes:
            process.go_on()
        await until(self._idle, self._processes)
        return number / (time.perf_counter() - began)

    async def _idle(self) -> bool:
        # Two conditions, each of which has an index of its own.
        queued, running = (f"EXISTS (SELECT FROM jobs WHERE status = '{status}')" for status in ("queued", "running"))
        return not await self._connection.fetchval(f"SELECT {queued} OR {running}")

    async def latencies(self, message: JobMessage, number: int, pause: Callable[[], float]) -> list[float]:
        """Seconds from the commit to the start of the body, one job at a time on an idle system."""
        sent: dict[int, float] = {}
        for _ in range(number):
            (job_id,) = await self.accept(message, 1)
            sent[job_id] = time.time()
            await asyncio.sleep(pause())
        await until(self._idle, self._processes)
        query = "SELECT id, result::text::float AS started FROM jobs WHERE id = ANY ($1)"
        return [row["started"] - sent[row["id"]] for row in await self._connection.fetch(query, list(sent))]


class BareArq:
    def __init__(self, url: str, redis: Redis, process: Process) -> None:
        self._url, self._redis, self._process = url, redis, process

    async def drain(self, number: int) -> float:
        self._process.stand_still()
        pool = await arq_pool(self._url)
        for start in range(0, number, BATCH):
            await asyncio.gather(*(pool.enqueue_job("noop") for _ in range(min(BATCH, number - start))))
        await pool.aclose()
        began = time.perf_counter()
        self._process.go_on()

        async def done() -> bool:
            return not await self._redis.zcard(ARQ_QUEUE)

        await until(done, [self._process])
        return number / (time.perf_counter() - began)

    async def latencies(self, number: int, pause: Callable[[], float]) -> list[float]:
        pool = await arq_pool(self._url)

        async def send() -> None:
            await pool.enqueue_job("moment")

        return await _latencies(self._redis, send, self._process, number, pause)


class BareCelery:
    def __init__(self, url: str, redis: Redis, process: Process) -> None:
        self._app: Celery = celery_app(url)
        self._redis, self._process = redis, process

    async def drain(self, number: int) -> float:
        self._process.stand_still()
        await asyncio.to_thread(self._send, "noop", number)
        began = time.perf_counter()
        self._process.go_on()

        async def done() -> bool:
            left = await cast("Awaitable[int]", self._redis.llen(CELERY_QUEUE))
            return not left and not await cast("Awaitable[int]", self._redis.hlen("unacked"))

        await until(done, [self._process])
        return number / (time.perf_counter() - began)

    def _send(self, name: str, number: int) -> None:
        with self._app.connection_for_write() as connection:
            producer = self._app.amqp.Producer(connection)
            for _ in range(number):
                self._app.send_task(name, producer=producer, ignore_result=True)

    async def latencies(self, number: int, pause: Callable[[], float]) -> list[float]:
        async def send() -> None:
            await asyncio.to_thread(self._send, "moment", 1)

        return await _latencies(self._redis, send, self._process, number, pause)


async def _latencies(
    redis: Redis, send: Callable[[], Awaitable[None]], process: Process, number: int, pause: Callable[[], float]
) -> list[float]:
    await redis.delete(STARTS)
    sent = []
    for _ in range(number):
        await send()
        sent.append(time.time())
        await asyncio.sleep(pause())

    async def done() -> bool:
        return await cast("Awaitable[int]", redis.llen(STARTS)) == number

    await until(done, [process])
    started = sorted(float(one) for one in await cast("Awaitable[list[bytes]]", redis.lrange(STARTS, 0, -1)))
    return [after - before for before, after in zip(sent, started, strict=True)]
