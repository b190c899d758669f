"""The state directory: who holds it, what lies in it, how it is emptied."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.local import leftovers
from deploy.local.files import write_private
from deploy.local.postgres import socket_directory


class StateError(Exception):
    """The state directory can't be used; the text says by whom it is held or what to do."""


@dataclass
class Holder:
    """The supervisor that holds a state directory, as far as it has told."""

    pid: int
    port: int


class State:
    """A directory held by this process: below it `run/` with pid files and `env`, the engines' data, mail, storage."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self.run = path / "run"
        self._lock = lock

    @staticmethod
    def shown(path: Path) -> str:
        """`path` as short as it can be typed in this directory."""
        here = Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)

    def record(self, name: str, pid: int) -> None:
        """Write `run/NAME.pid`, whole or not at all."""
        fresh = self.run / f".{name}.pid.new"
        fresh.write_text(f"{pid}\n")
        fresh.rename(self.run / f"{name}.pid")

    def forget(self, name: str) -> None:
        """Remove `run/NAME.pid`."""
        (self.run / f"{name}.pid").unlink(missing_ok=True)

    def write_env(self, values: Mapping[str, str]) -> Path:
        """Write `run/env` for a shell; it holds passwords, so only this account may read it."""
        path = self.run / "env"
        write_private(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))
        return path

    def clean(self) -> list[leftovers.Leftover]:
        """End what an earlier run left behind and remove its pid files; returns whom it ended."""
        found = leftovers.find(self.path)
        leftovers.end(found)
        for path in (*self.run.glob("*.pid"), *self.run.glob(".*.new"), self.run / "env"):
            path.unlink(missing_ok=True)
        return found

    def release(self) -> None:
        """Remove the pid files and let the directory go."""
        for path in (*self.run.glob("*.pid"), self.run / "env"):
            path.unlink(missing_ok=True)
        self._lock.close()


def hold(path: Path, *, port: int) -> State | Holder:
    """The directory for this process, or who holds it already. Raises StateError."""
    path = path.resolve()
    try:
        (path / "run").mkdir(parents=True, exist_ok=True)
        lock = (path / "run" / "supervisor.lock").open("a+")
    except PermissionError as error:
        raise StateError(f"{error.filename} belongs to another account: remove it, or run as that account") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return _holder(lock)
        finally:
            lock.close()
    lock.truncate(0)
    json.dump({"pid": os.getpid(), "port": port}, lock)
    lock.flush()
    return State(path, lock)


def _holder(lock: IO[str]) -> Holder:
    deadline = time.monotonic() + 1.0
    while True:  # it may have locked and not yet written
        lock.seek(0)
        with suppress(ValueError, KeyError):
            told = json.load(lock)
            return Holder(told["pid"], told["port"])
        if time.monotonic() > deadline:
            return Holder(0, 0)
        time.sleep(0.05)


def read_env(path: Path) -> dict[str, str]:
    """The values of `run/env` below a state directory."""
    words = shlex.split((path / "run" / "env").read_text())
    return {name: value for name, _, value in (word.partition("=") for word in words if word != "export")}


def claim(base: Path, *, port: int) -> State:
    """`base`, or `base/PORT` beside a supervisor on another port. Raises StateError naming who is in the way."""
    held = hold(base, port=port)
    if isinstance(held, Holder) and held.port != port:
        held = hold(base / str(port), port=port)
    if isinstance(held, Holder):
        raise StateError(
            f"already running on port {held.port} as pid {held.pid}: stop it with `kill {held.pid}`, "
            f"or start beside it on another port: PORT={port + 1} make run"
        )
    return held


def locate(base: Path, *, port: int) -> Path:
    """The directory of the supervisor that serves `port`. Raises StateError when there is none."""
    for path in (base, base / str(port)):
        if (path / "run" / "env").exists():
            held = hold(path, port=port)
            if isinstance(held, State):
                held.release()
            elif held.port == port:
                return path
    raise StateError(f"nothing runs on port {port}: start it with `make run`")


def reset(base: Path) -> None:
    """Empty `base`, ending what an earlier run left behind. Raises StateError while a supervisor runs."""
    held: list[State] = []
    try:
        for path in [base, *(lock.parents[1] for lock in base.glob("*/run/supervisor.lock"))]:
            taken = hold(path, port=0)
            if isinstance(taken, Holder):
                raise StateError(f"{path} is in use by pid {taken.pid}: stop it first with `kill {taken.pid}`")
            held.append(taken)
        for state in held:
            state.clean()
            shutil.rmtree(socket_directory(state.path), ignore_errors=True)
        for entry in base.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except PermissionError as error:
        raise StateError(f"{error.filename} belongs to another account: reset as that account") from error
    finally:
        for state in held:
            state.release()
