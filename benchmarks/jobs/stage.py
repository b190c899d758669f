"""What the job measures stand on: the engines, empty tables, and processes on their cores."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from sqlalchemy import text

from app.config import Settings
from app.core.database import Database
from app.core.jobs import enqueue_many
from app.crud.jobs import jobs
from app.tasks.attempt import Runner
from benchmarks.jobs.contenders import Process
from benchmarks.jobs.noop import Noop
from benchmarks.servers import ROOT, BenchmarkError, Cores, free_port, pin
from deploy.local.engines import PostgresEngine, ValkeyEngine

_FINISHED = """
    INSERT INTO jobs (name, queue, payload, max_attempts, status, attempt, run_at, published_at, publications,
                      started_at, finished_at, created_at)
    SELECT 'bench.noop', 'io', '{}', 8, 'succeeded', 1, at, at, 1, at, at, at
    FROM generate_series(1, $1::int) n, LATERAL (SELECT now() - n * interval '1 second') _ (at)
"""


class JobStage:
    def __init__(self, state: Path, cores: Cores) -> None:
        self.state, self.cores = state, cores
        self.postgres, self.valkey = PostgresEngine(state), ValkeyEngine(state)
        self._processes: list[Process] = []

    @property
    def dsn(self) -> str:
        return self.postgres.url.replace("postgresql+asyncpg", "postgresql")

    def env(self, url: str | None = None) -> dict[str, str]:
        """As in production, except for what a public address needs; logs go to a file, as there."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "ENVIRONMENT": "test",
            "DATABASE_URL": url or self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "MAIL_DIRECTORY": str(self.state / "mail"),
            "STORAGE_DIRECTORY": str(self.state / "storage"),
            "LOG_FORMAT": "json",
        }

    def open(self) -> None:
        self.postgres.start()
        self.valkey.start()
        for engine in (self.postgres, self.valkey):
            assert engine.pid is not None
            pin(engine.pid, self.cores.rest)
        self.migrate(self.postgres.url)

    @contextmanager
    def own_core(self) -> Iterator[None]:
        """What this process measures of itself runs where a measured worker does."""
        if self.cores.server is None:
            yield
            return
        before = os.sched_getaffinity(0)
        pin(0, self.cores.server)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def migrate(self, url: str) -> None:
        migrate = [sys.executable, "-m", "app", "migrate"]
        subprocess.run(migrate, env=self.env(url), cwd=ROOT, check=True, capture_output=True)

    def close(self) -> None:
        self.stop_all()
        self.valkey.stop()
        self.postgres.stop()

    def bare(self, engine: str, *arguments: str) -> Process:
        return self._start(
            f"bare-{engine}", ["benchmarks.jobs.bare", engine, *arguments], self.env(), self.cores.server
        )

    async def worker(self, *, rest: bool = False) -> Process:
        return await self._service("worker", self.cores.rest if rest else self.cores.server)

    async def celery(self) -> Process:
        return await self._service("celery", self.cores.server)

    async def api(self) -> Process:
        return await self._service("api", self.cores.server, module="app")

    async def _service(self, name: str, core: int | None, *, module: str = "benchmarks.jobs.noop") -> Process:
        port = free_port()
        ports = {"PORT": str(port)} if name == "api" else {f"{name.upper()}_METRICS_PORT": str(port)}
        env = self.env() | ports | {"PROMETHEUS_MULTIPROC_DIR": str(self.state / f"{name}-metrics")}
        process = self._start(name, [module, name], env, core)
        await asyncio.to_thread(_wait_for, f"http://127.0.0.1:{port}/health/ready", process)
        return process

    def _start(self, name: str, arguments: list[str], env: dict[str, str], core: int | None) -> Process:
        process = Process(name, arguments, env=env, core=core, log=self.state / f"{name}.log")
        self._processes.append(process)
        return process

    def stop(self, process: Process) -> None:
        process.stop()
        self._processes.remove(process)

    def stop_all(self) -> None:
        for process in list(self._processes):
            self.stop(process)

    def statements(self) -> list[str]:
        lines = self.postgres.log_path.read_text(errors="replace").splitlines()
        return [line for line in lines if line.startswith(("LOG:  execute ", "LOG:  statement: "))]

    async def other_database(self, settings: Settings, name: str, *, finished: int) -> Database:
        """A database of its own with the service's tables and so many finished jobs."""
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(f"CREATE DATABASE bench_{name}")
        await connection.close()
        url = self.postgres.url.replace("/frontdesk?", f"/bench_{name}?")
        await asyncio.to_thread(self.migrate, url)
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
        await connection.execute(_FINISHED, finished)
        await connection.execute("VACUUM ANALYZE jobs")
        await connection.execute("CHECKPOINT")
        await connection.close()
        return Database(settings.database.model_copy(update={"url": SecretStr(url)}), role="worker")

    async def claims(self, database: Database, runner: Runner, number: int) -> list[float]:
        """Seconds from the search for due jobs to the end of each, one after the other, as a worker does it."""
        async with database.session_scope() as session:
            ids = await enqueue_many(session, [Noop()] * number)
        taken = []
        for job_id in ids:
            began = time.perf_counter()
            await jobs.take_unpublished(database.single, limit=1, names=[Noop.name])
            await runner.run(job_id)
            taken.append(time.perf_counter() - began)
        async with database.session_scope() as session:
            await session.execute(text("DELETE FROM jobs WHERE id = ANY (:ids)"), {"ids": ids})
        return taken


def _wait_for(url: str, process: Process, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.check()
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.02)
    raise BenchmarkError(f"{process.name} is not ready")
