"""One process of the service, started, asked, signalled and ended as an operator would."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tests.support import eventually


class Process:
    """`python -m app NAME` in a session of its own; its log is kept in `folder`."""

    def __init__(
        self, name: str, port: int, folder: Path, environment: Mapping[str, str], program: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._address = f"http://127.0.0.1:{port}"
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *(program or ("-m", "app", name))],
                env=dict(environment),
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def children(self) -> list[int]:
        """The processes under it."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def signal(self, number: signal.Signals) -> None:
        """To the main process alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to it and whatever it left behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    async def ended(self, *, seconds: float) -> int:
        """Its exit code, negative for a signal; fails when it is still there after `seconds`."""

        async def gone() -> bool:
            return self._process.poll() is not None

        await eventually(gone, seconds=seconds)
        return int(self._process.returncode)

    async def stopped(self, *, seconds: float = 8) -> int:
        """Ask it to stop; its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended(seconds=seconds)

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(self._address + path, timeout=5)

    async def ready(self) -> "Process":
        """Itself, once it says that it is ready."""

        async def answers() -> bool:
            assert self._process.poll() is None, self.log()
            with suppress(httpx.TransportError):
                return (await self.get("/health/ready")).status_code == 200
            return False

        await eventually(answers, seconds=30)
        return self

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """Its log, every line of which has to be a JSON object."""
        # What follows the last line break is still being written.
        lines = [json.loads(line) for line in self.log().rpartition("\n")[0].splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    async def logged(self, event: str, *, seconds: float = 10, **fields: Any) -> dict[str, Any]:
        """The first line of its log with this event and these fields, once it is there."""

        async def find() -> dict[str, Any] | None:
            for line in self.lines():
                if line.get("event") == event and all(line.get(name) == value for name, value in fields.items()):
                    return line
            return None

        found: dict[str, Any] = await eventually(find, seconds=seconds)
        return found


Spawn = Callable[..., Process]


class Workers:
    """One worker of each kind, started when it is first asked for and whenever the last one has ended."""

    def __init__(self, spawn: Spawn) -> None:
        self.spawn = spawn
        self._running: dict[str, Process] = {}

    async def get(self, *names: str) -> list[Process]:
        """The processes of these names, ready."""
        for name in names:
            if name not in self._running or not self._running[name].is_alive:
                self._running[name] = self.spawn(name)
        return [await self._running[name].ready() for name in names]

    async def stop(self, *names: str) -> None:
        """Let those of these names end that still run."""
        for name in names:
            if name in self._running and self._running[name].is_alive:
                await self._running[name].stopped(seconds=20)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def gone(pid: int, *, seconds: float = 5) -> None:
    """Wait until no process has this id, or only what is left of one until its parent has looked."""

    async def check() -> bool:
        with suppress(FileNotFoundError, ProcessLookupError):
            return _state(pid) == "Z"
        return True

    await eventually(check, seconds=seconds)
