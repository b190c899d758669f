"""Who holds a state directory, and how it is emptied."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import state as states

Start = Callable[..., subprocess.Popen[bytes]]

HOLDER = """
import pathlib, sys
from deploy.local.state import claim
held = claim(pathlib.Path(sys.argv[1]), port=1)
print(1, flush=True)
sys.stdin.read()
"""


def test_a_second_run_goes_beside_the_first_on_another_port_only(tmp_path: Path) -> None:
    """The same port is refused with the pid that holds it; another one gets a directory of its own."""
    first = states.claim(tmp_path, port=8000)
    with pytest.raises(states.StateError, match=f"port 8000 as pid {os.getpid()}.*PORT=8001"):
        states.claim(tmp_path, port=8000)
    second = states.claim(tmp_path, port=8005)
    assert second.path == tmp_path.resolve() / "8005"
    with pytest.raises(states.StateError, match="port 8005"):
        states.claim(tmp_path, port=8005)
    first.release()
    second.release()
    states.claim(tmp_path, port=8000).release()


def test_a_directory_is_free_again_when_its_holder_was_killed(tmp_path: Path) -> None:
    """The lock lives and dies with the process, whatever it had written down."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(states.StateError, match=f"pid {holder.pid}"):
            states.claim(tmp_path, port=1)
        holder.kill()
    states.claim(tmp_path, port=1).release()


def test_the_env_file_is_private_and_survives_a_shell(tmp_path: Path) -> None:
    """What a shell reads from `run/env` is what was written, and nobody else may read it."""
    state = states.claim(tmp_path, port=1)
    values = {"DATABASE_URL": "postgresql://a:b@/c?host=/with space&x='$HOME'", "PORT": "1"}
    path = state.write_env(values)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = subprocess.run(
        ["sh", "-c", f". '{path}' && echo \"$DATABASE_URL\""], capture_output=True, text=True, check=True
    )
    assert told.stdout.rstrip("\n") == values["DATABASE_URL"]
    assert states.read_env(tmp_path) == values
    state.release()
    assert not path.exists()


def test_reset_empties_everything_but_never_under_a_running_supervisor(tmp_path: Path, sleeper: Start) -> None:
    """It refuses while any run holds a part of the directory, and ends leftovers first."""
    first, second = states.claim(tmp_path, port=1), states.claim(tmp_path, port=2)
    first.release()
    with pytest.raises(states.StateError, match=f"in use by pid {os.getpid()}"):
        states.reset(tmp_path)
    second.release()
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "x.eml").write_text("")
    leftover, foreign = sleeper(tmp_path.resolve()), sleeper()
    states.reset(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert leftover.wait(5) != 0
    assert foreign.poll() is None


def test_pid_files_of_an_earlier_run_are_removed_without_touching_their_pids(tmp_path: Path, sleeper: Start) -> None:
    """A pid in a file is no reason to signal it."""
    foreign = sleeper()
    state = states.claim(tmp_path, port=1)
    state.record("api", foreign.pid)
    assert (tmp_path / "run" / "api.pid").read_text() == f"{foreign.pid}\n"
    state.clean()
    assert not (tmp_path / "run" / "api.pid").exists()
    assert foreign.poll() is None
    state.release()
