"""Processes that an earlier run of the same state directory has left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from deploy.local.command import MARKER

PROC = Path("/proc")


@dataclass(frozen=True)
class Leftover:
    """A process that is ours, with the reason to believe so (asked again before every signal)."""

    pid: int
    title: str
    is_ours: Callable[[int], bool]

    @property
    def stop_signal(self) -> signal.Signals:
        """SIGINT is the fast shutdown of a postmaster; its children show a title instead of a path."""
        return signal.SIGINT if self.title.split("\0")[0].endswith("/postgres") else signal.SIGTERM

    def is_alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return self.is_ours(self.pid)

    def send(self, number: signal.Signals) -> None:
        """Signal it, and never another process that got its pid in between (where the OS has pidfd)."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):
            handle = None
        with suppress(ProcessLookupError):
            if not self.is_alive():
                pass
            elif handle is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        if handle is not None:
            os.close(handle)


def cluster_name(state: Path) -> str:
    """The name that every PostgreSQL process of this state directory shows in its title."""
    return f"frontdesk-{sha256(os.fsencode(state)).hexdigest()[:12]}"


def title(pid: int) -> str:
    """The command line, arguments separated by NUL; empty for a zombie or nobody."""
    try:
        return os.fsdecode((PROC / str(pid) / "cmdline").read_bytes())
    except OSError:
        return ""


def has_marker(pid: int, state: Path) -> bool:
    """Whether the process was started for this state directory."""
    entry = f"{MARKER}={state}"
    if sys.platform != "linux":
        listing = subprocess.run(
            ["/bin/ps", "eww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return entry in listing.stdout.split(" ") or listing.stdout.rstrip().endswith(entry)
    try:
        return os.fsencode(entry) in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def is_postgres(pid: int, state: Path) -> bool:
    """Whether it is a PostgreSQL process of this state directory, by a title that every account may read."""
    shown = title(pid)
    return shown.startswith(f"postgres: {cluster_name(state)}: ") or f"\0cluster_name={cluster_name(state)}\0" in shown


def belongs(pid: int, state: Path) -> bool:
    """Whether the process is one of this state directory."""
    return has_marker(pid, state) or is_postgres(pid, state)


def ancestors() -> set[int]:
    """This process and those above it."""
    found, pid = set[int](), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        with suppress(OSError, ValueError, IndexError):
            pid = int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def find(state: Path, ours: Callable[[int, Path], bool] = belongs) -> list[Leftover]:
    """Every process of this state directory except the caller and its parents."""
    if sys.platform == "linux":
        candidates = {int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()} - ancestors()
    else:
        candidates = set(recorded(state))
    return [Leftover(pid, title(pid), lambda pid: ours(pid, state)) for pid in sorted(candidates) if ours(pid, state)]


def recorded(state: Path) -> Iterable[int]:
    """The pids in the pid files: all that can be asked about where there is no /proc."""
    for path in (state / "run").glob("*.pid"):
        with suppress(OSError, ValueError):
            yield int(path.read_text())


def end(leftovers: list[Leftover], *, grace: float = 5.0) -> None:
    """Stop them all: politely, then after `grace` seconds by SIGKILL; returns when none is left (or 5 s later)."""
    for leftover in leftovers:
        leftover.send(leftover.stop_signal)
    remaining = _wait(leftovers, grace)
    for leftover in remaining:
        leftover.send(signal.SIGKILL)
    _wait(remaining, 5.0)


def _wait(leftovers: list[Leftover], seconds: float) -> list[Leftover]:
    deadline = time.monotonic() + seconds
    while leftovers := [leftover for leftover in leftovers if leftover.is_alive()]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return leftovers
