"""The supervisor over small real programs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import leftovers

Start = Callable[..., subprocess.Popen[bytes]]
Eventually = Callable[[Callable[[], object]], None]


class Run:
    """What can be seen of a run from outside."""

    def __init__(self, tmp_path: Path) -> None:
        self.state = (tmp_path / "the state").resolve()
        self._log = tmp_path / "log"

    @property
    def lines(self) -> list[str]:
        """The log."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def readies(self) -> int:
        """How often it said that it is ready."""
        return sum(line.startswith("ready") for line in self.lines)

    def pid(self, name: str) -> int:
        """From a pid file; 0 while there is none."""
        path = self.state / "run" / f"{name}.pid"
        return int(path.read_text()) if path.exists() else 0

    def pid_files(self) -> list[str]:
        """The names that have one."""
        return sorted(path.stem for path in (self.state / "run").glob("*.pid"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The run in `tmp_path`."""
    return Run(tmp_path)


def test_it_starts_says_ready_once_and_stops_in_order(supervised: Start, run: Run, eventually: Eventually) -> None:
    """Engines, steps, programs, one `ready`; on Ctrl-C all of it ends with exit 0 and no pid file is left."""
    process = supervised("--engines")
    eventually(run.readies)
    assert run.pid_files() == ["api", "postgres", "redis"]
    assert run.lines.index("migrate   | migrating") < run.lines.index("api       | listening")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert run.readies() == 1
    assert run.lines[-1] == "frontdesk | stopped"
    assert run.pid_files() == []
    assert leftovers.find(run.state) == []


def test_whatever_dies_is_started_again(supervised: Start, run: Run, eventually: Eventually) -> None:
    """Programs and engines return under a new pid after SIGKILL, and the log says who died of what."""
    supervised("--engines")
    eventually(run.readies)
    before = {name: run.pid(name) for name in run.pid_files()}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(run.pid(name) not in {0, pid} for name, pid in before.items()))
    eventually(lambda: sum("| up in" in line for line in run.lines) >= 4)
    for name in before:
        assert any(line.startswith(f"frontdesk | {name} ended with signal SIGKILL") for line in run.lines)
    assert run.readies() == 1


def test_children_of_a_killed_program_do_not_outlive_it(supervised: Start, run: Run, eventually: Eventually) -> None:
    """A killed server's workers are ended before its successor starts."""
    supervised()
    eventually(run.readies)
    group = run.pid("api")
    assert len(leftovers.find(run.state)) == 2
    os.kill(group, signal.SIGKILL)
    eventually(lambda: run.pid("api") not in {0, group})
    assert all(os.getpgid(leftover.pid) != group for leftover in leftovers.find(run.state))


def test_a_killed_supervisor_takes_its_children_along(supervised: Start, run: Run, eventually: Eventually) -> None:
    """After SIGKILL the main processes end by themselves, and the next start ends the rest and gets ready."""
    process = supervised("--engines", "--deaf")
    eventually(run.readies)
    before = {run.pid(name) for name in run.pid_files()}
    process.kill()
    process.wait()
    eventually(lambda: len(leftovers.find(run.state)) <= 2)  # deaf to SIGTERM, and its child
    supervised("--engines")
    eventually(lambda: run.readies() == 2)
    assert not before & {leftover.pid for leftover in leftovers.find(run.state)}


def test_a_failed_step_stops_everything(supervised: Start, run: Run) -> None:
    """A migration that fails ends the run with exit 1 and its exit code as the last line."""
    assert supervised("--engines", "--step", "4").wait(20) == 1
    assert run.lines[-1].startswith("frontdesk | it did not start: migrate failed with exit code 4")
    assert leftovers.find(run.state) == []


def test_a_program_that_can_not_start_is_given_up(supervised: Start, run: Run) -> None:
    """Three ends before the first `ready` are a failed start."""
    assert supervised("--fail").wait(20) == 1
    assert run.lines.count("api       | no settings") == 3
    assert "api ended 3 times before it was ready, last with exit code 3" in run.lines[-1]


def test_grace_has_an_end(supervised: Start, run: Run, eventually: Eventually) -> None:
    """A program that ignores SIGTERM is killed with its children after the grace."""
    process = supervised("--deaf")
    eventually(run.readies)
    process.terminate()
    assert process.wait(10) == 0
    assert "frontdesk | api had to be killed" in run.lines
    assert leftovers.find(run.state) == []
