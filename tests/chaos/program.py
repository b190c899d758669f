"""A process of the service that is started again whenever it dies, as its supervisor does it in earnest."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import httpx

from deploy.local.command import Command

ROOT = Path(__file__).resolve().parents[2]
PAUSE = 0.1


class ProgramError(Exception):
    """A process does not come up; the text holds the end of its log."""


class Program:
    """`tests.chaos.service NAME`, which dies with this process. `kept` decides whether it is started again."""

    def __init__(self, label: str, name: str, *, port: int, folder: Path, env: Mapping[str, str]) -> None:
        self.label, self.starts, self.kills, self.env = label, 0, 0, dict(env)
        self.kept = True
        self._port = port
        self._log = folder / f"{label}.log"
        argv = (sys.executable, "-m", "tests.chaos.service", name)
        own = {f"{name.upper()}_METRICS_PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(folder / f"{label}.metrics")}
        self._command = Command(argv=argv, env={**env, **own}, cwd=ROOT, stop_signal=signal.SIGKILL)
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.kept = True
        if not self.is_alive:
            self._spawn()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())

    def _spawn(self) -> None:
        self.starts += 1
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command.guarded(),
                env=dict(self._command.env),
                cwd=self._command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            if self.kept and not self.is_alive:
                self._spawn()

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def deaths(self) -> int:
        """How often it had to be started again although nobody had killed it."""
        return max(0, self.starts - 1 - self.kills)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """The processes right under it; none when it is dead."""
        with suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def send(self, number: signal.Signals, *, children: bool = False) -> None:
        """To the main process, with its children if asked; one that is dead already does not mind."""
        self.kills += number is signal.SIGKILL
        for pid in (*(self.children() if children else ()), self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def send_child(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    async def restarted(self, starts: int) -> None:
        """Return once it has been started more often than `starts` times."""
        while self.starts <= starts:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)

    async def ready(self, *, seconds: float = 60) -> None:
        """Return once it says that it is ready."""
        deadline = time.monotonic() + seconds
        async with httpx.AsyncClient() as client:
            while time.monotonic() < deadline:
                with suppress(httpx.TransportError):
                    answer = await client.get(f"http://127.0.0.1:{self._port}/health/ready", timeout=2)
                    if answer.status_code == 200:
                        return
                await asyncio.sleep(0.05)
        raise ProgramError(f"{self.label} is not ready after {seconds:g} s:\n{self.log()[-3000:]}")

    async def stop(self) -> None:
        """End it for good, whatever state it is in."""
        self.kept = False
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        if self._process is not None:
            for pid in (*self.children(), self.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)

    def log(self) -> str:
        with suppress(FileNotFoundError):
            return self._log.read_text(errors="replace")
        return ""


async def all_ready(programs: Iterable[Program]) -> None:
    await asyncio.gather(*(program.ready() for program in programs))
