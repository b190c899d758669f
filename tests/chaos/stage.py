"""PostgreSQL as durable as in production, Valkey, migrated tables, and the processes of the service on them."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg

from benchmarks.servers import free_port
from deploy.local.engines import PostgresEngine, ValkeyEngine
from tests.chaos.bodies import TABLES
from tests.chaos.program import ROOT, Program, all_ready

LEASE, HEARTBEAT, RELAY_INTERVAL, REAP_INTERVAL = 3.0, 1.0, 0.3, 0.3
# Long beside the rest: a recovery that ought to be quick and waited for this instead is seen.
REPUBLISH_AFTER = 10.0
# Longer than any recovery may take: what ought to be published again for another reason is not published for this one.
PATIENT = {"JOBS_REPUBLISH_AFTER": "120"}
KINDS = {"worker": "worker", "rival": "worker", "celery": "celery", "second": "celery"}


class Stage:
    """Everything that a run stands on; `close` ends it all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # PostgreSQL runs as another account when we are root.
        self.folder.chmod(0o755)
        self.postgres, self.valkey = PostgresEngine(self.folder), ValkeyEngine(self.folder)
        self.programs: dict[str, Program] = {}

    @property
    def mails(self) -> Path:
        return self.folder / "mail"

    @property
    def dsn(self) -> str:
        return self.postgres.url.replace("postgresql+asyncpg", "postgresql")

    def env(self) -> dict[str, str]:
        """What a process needs of ours; the settings of whoever runs this play no part."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "PYTHONPATH": str(ROOT),
            "ENVIRONMENT": "test",
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "HASHING_ROUNDS": "4",
            "MAIL_DIRECTORY": str(self.mails),
            "STORAGE_DIRECTORY": str(self.folder / "storage"),
            "LOG_FORMAT": "json",
            "JOBS_LEASE": str(LEASE),
            "JOBS_HEARTBEAT": str(HEARTBEAT),
            "JOBS_RELAY_INTERVAL": str(RELAY_INTERVAL),
            "JOBS_REAP_INTERVAL": str(REAP_INTERVAL),
            "JOBS_REPUBLISH_AFTER": str(REPUBLISH_AFTER),
        }

    def start(self) -> None:
        self.postgres.start()
        self.valkey.start()
        migrate = [sys.executable, "-m", "app", "migrate"]
        subprocess.run(migrate, env=self.env(), cwd=ROOT, check=True, capture_output=True)

    async def fill(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(TABLES)
        await connection.close()

    async def close(self) -> None:
        for program in self.programs.values():
            await program.stop()
        self.valkey.stop()
        self.postgres.stop()

    def deaths(self) -> dict[str, int]:
        """How often each process that is there has ended although nobody had killed it."""
        return {label: program.deaths for label, program in self.programs.items()}

    async def running(self, labels: Sequence[str], of: Mapping[str, Mapping[str, str]] = {}) -> None:
        """Exactly these processes, ready, with settings of their own in `of`; one that has others is replaced."""
        wanted = {label: self.env() | {**of.get("", {}), **of.get(label, {})} for label in labels}
        for label, program in list(self.programs.items()):
            if wanted.get(label) != program.env:
                await self.programs.pop(label).stop()
        for label, env in wanted.items():
            if label not in self.programs:
                port = free_port()
                self.programs[label] = Program(label, KINDS[label], port=port, folder=self.folder, env=env)
            self.programs[label].start()
        await all_ready(self.programs[label] for label in labels)
