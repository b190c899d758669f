"""What an earlier run left behind, and what only looks like it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from deploy.local import leftovers

Start = Callable[..., subprocess.Popen[bytes]]


def test_only_processes_with_the_marker_of_this_directory_are_ours(tmp_path: Path, sleeper: Start) -> None:
    """A process of another state directory, or of none, is no leftover of this one."""
    ours, other, foreign = sleeper(tmp_path), sleeper(tmp_path / "8001"), sleeper()
    assert [leftover.pid for leftover in leftovers.find(tmp_path)] == [ours.pid]
    leftovers.end(leftovers.find(tmp_path))
    assert ours.wait(5) == -signal.SIGTERM
    assert other.poll() is None
    assert foreign.poll() is None


def test_a_pid_that_belongs_to_somebody_else_by_now_is_not_signalled(tmp_path: Path, sleeper: Start) -> None:
    """The reason to believe that a process is ours is asked again before every signal."""
    foreign = sleeper()
    leftovers.end([leftovers.Leftover(foreign.pid, "", lambda pid: leftovers.has_marker(pid, tmp_path))])
    assert foreign.poll() is None


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path, sleeper: Start) -> None:
    """After the grace comes SIGKILL, also for a stopped process."""
    stopped = sleeper(tmp_path)
    stopped.send_signal(signal.SIGSTOP)
    os.waitpid(stopped.pid, os.WUNTRACED)
    leftovers.end(leftovers.find(tmp_path), grace=0.1)
    assert stopped.wait(5) == -signal.SIGKILL


def test_a_zombie_is_not_waited_for(tmp_path: Path, sleeper: Start) -> None:
    """A process that has ended and is not yet reaped counts as gone."""
    process = sleeper(tmp_path)
    process.kill()
    process.poll()
    leftovers.end(leftovers.find(tmp_path))
    assert leftovers.find(tmp_path) == []
