"""The contenders and the load generator as processes, each on the core that it is given."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stats import Sample

ROOT = Path(__file__).resolve().parents[1]
UVICORN = ("-m", "uvicorn", "--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools")


class BenchmarkError(Exception):
    """A run can't go on; the text says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """`server` for whichever contender answers; `rest` for the generator, the database and Valkey; None: not pinned."""

    server: int | None
    rest: int | None

    @classmethod
    def available(cls) -> "Cores":
        if not hasattr(os, "sched_getaffinity") or len(cores := sorted(os.sched_getaffinity(0))) < 2:
            return cls(None, None)
        return cls(cores[0], cores[1])


def pin(pid: int, core: int | None) -> None:
    """Keep a process, and what it starts from now on, on one core."""
    if core is not None and sys.platform == "linux":
        os.sched_setaffinity(pid, {core})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One contender, started and reachable on `port`."""

    def __init__(
        self, name: str, arguments: Sequence[str], *, env: Mapping[str, str], port: int, core: int | None, log: Path
    ) -> None:
        self.name, self.port, self._log = name, port, log
        self.started = time.perf_counter()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], env=dict(env), cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        pin(self._process.pid, core)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, path: str, headers: Mapping[str, str], *, seconds: float = 60) -> float:
        """Seconds from the start of the process to the first 200 of `path`."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=dict(headers))
        while time.perf_counter() - self.started < seconds:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own address
                    if answer.status == 200:
                        return time.perf_counter() - self.started
            except urllib.error.HTTPError as error:
                raise BenchmarkError(f"{self.name} answers {error.code} on {path}: {error.read()[:400]!r}") from error
            except OSError:
                time.sleep(0.005)
        raise BenchmarkError(f"{self.name} did not start:\n{self._log.read_text(errors='replace')[-3000:]}")

    def memory(self) -> dict[str, float]:
        """Resident and proportional size in MB; empty where the system does not tell."""
        found = {}
        for file, key in (("status", "VmRSS"), ("smaps_rollup", "Pss")):
            try:
                lines = Path(f"/proc/{self.pid}/{file}").read_text().splitlines()
            except OSError:
                continue
            found[key] = next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024
        return found

    def cpu_seconds(self) -> float | None:
        """Processor time so far; None where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Group:
    """`clients` that send `requests` in turn, each once or over and over, and expect one status.

    Each waits `pause` seconds between an answer and its next request.
    """

    name: str
    clients: int
    requests: Sequence[str]
    expect: int = 200
    once: bool = False
    pause: float = 0


class Generator:
    """The load generator's process."""

    def __init__(self, output: Path, core: int | None) -> None:
        self._output = output
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        pin(self._process.pid, core)

    def run(self, server: Server, *groups: Group, seconds: float, warmup: float = 0.5) -> dict[str, Sample]:
        """Load `server` for `seconds` after `warmup`; what each group met, by its name."""
        plan = {
            "output": str(self._output),
            "port": server.port,
            "seconds": seconds,
            "warmup": warmup,
            "groups": [
                {"name": one.name, "clients": one.clients, "requests": one.requests}
                | {"expect": one.expect, "once": one.once, "pause": one.pause}
                for one in groups
            ],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(plan) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer != "done":
            raise BenchmarkError(f"{server.name}: {answer or 'the load generator ended'}")
        met: dict[str, Any] = json.loads(self._output.read_text(encoding="utf-8"))
        return {name: Sample(one["rate"], one["latencies"]) for name, one in met.items()}

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
