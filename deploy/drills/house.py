"""The whole service as `make run` has it, in a folder of its own, for a drill to hurt."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from deploy.local.plan import psql_variables
from deploy.local.postgres import binaries
from deploy.local.state import StateError, locate, read_env

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0


class DrillFailed(Exception):
    """The service did not do what the runbook says."""


class House:
    """`start` and `stop` it; its processes are known by their pid files."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """What a command of the app needs to find this one."""
        own = {"BACKUP_DIRECTORY": str(self.folder / "backups"), "BACKUP_KEYS": "a key for a drill of 32 bytes or more"}
        return os.environ | read_env(locate(self.folder, port=self.port)) | own

    def start(self) -> float:
        """The seconds until it is ready."""
        began = time.monotonic()
        with (self.folder / "house.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", "--state", str(self.folder), "run"],
                env=os.environ | {"PORT": str(self.port), "LOG_LEVEL": "WARNING"},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self._all_ready():
            if self._process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise DrillFailed(f"it did not start: see {self.folder}/house.log")
            time.sleep(0.1)
        return time.monotonic() - began

    def stop(self) -> None:
        """With everything that it has started."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def _all_ready(self) -> bool:
        """The supervisor writes the addresses down when every process has answered."""
        with suppress(StateError):
            return locate(self.folder, port=self.port) == self.folder and self._ready() == 200
        return False

    def _ready(self) -> int:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code
        return 0

    async def ready_again(self) -> float:
        """The seconds until `ready` is 200 three times in a row."""
        began, good = time.monotonic(), 0
        while good < 3:
            good = good + 1 if await asyncio.to_thread(self._ready) == 200 else 0
            await asyncio.sleep(0.05)
            if time.monotonic() - began > PATIENCE:
                raise DrillFailed("it did not get ready again")
        return time.monotonic() - began

    def kill(self, name: str, number: signal.Signals) -> None:
        """A signal to `api`, `worker`, `celery`, `postgres` or `redis`."""
        os.kill(int((self.folder / "run" / f"{name}.pid").read_text()), number)

    async def app(self, *arguments: str, **environment: str) -> tuple[str, float]:
        """`python -m app …`: what it said, and how long it took."""
        return await self.run(sys.executable, "-m", "app", *arguments, **environment)

    async def run(self, *command: str, **environment: str) -> tuple[str, float]:
        """A program with the service's addresses; DrillFailed when it fails."""
        began = time.monotonic()
        variables = psql_variables(self.env["DATABASE_URL"]) | {"PATH": f"{binaries()}:{os.environ['PATH']}"}
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self.env | variables | environment,
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complained = await process.communicate()
        if process.returncode != 0:
            raise DrillFailed(f"{' '.join(command)}: {complained.decode().strip()[-2000:]}")
        return said.decode().strip(), time.monotonic() - began

    async def sql(self, statement: str, *, database: str = "") -> str:
        """What psql says, bare."""
        more = {"PGDATABASE": database} if database else {}
        return (await self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, **more))[0]

    @property
    def database(self) -> str:
        return urlsplit(self.env["DATABASE_URL"]).path.lstrip("/")


async def until(check: Callable[[], Awaitable[bool]], *, every: float = 0.1) -> float:
    """The seconds until it holds."""
    began = time.monotonic()
    while not await check():
        if time.monotonic() - began > PATIENCE:
            raise DrillFailed("it never came true")
        await asyncio.sleep(every)
    return time.monotonic() - began
