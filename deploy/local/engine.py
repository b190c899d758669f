"""What both embedded engines have: one owner per state directory, a start that heals, a stop that waits."""

from __future__ import annotations

import fcntl
import secrets
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, ClassVar

from deploy.local.command import Command
from deploy.local.files import write_private


class EngineError(Exception):
    """An engine can't be started here; the text says what to do."""


class Engine(ABC):
    """A server from a wheel, with its data below `<state>/<name>`.

    `start` and `stop` are all that a test needs. A supervisor starts the process itself and uses the parts:
    `prepare`, `command`, `is_ready`, `close`.
    """

    name: ClassVar[str]
    start_seconds: ClassVar[float] = 60.0
    stop_seconds: ClassVar[float] = 15.0

    def __init__(self, state_dir: Path) -> None:
        self.state = state_dir.resolve()
        self.directory = self.state / self.name
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address for the app, with the password in it; known once prepared."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data directory what `command` needs."""

    @abstractmethod
    def command(self) -> Command:
        """How the server is started, in the foreground."""

    @abstractmethod
    def is_ready(self, pid: int) -> bool:
        """Whether the server started as `pid` answers; never waits for longer than a blink."""

    def prepare(self) -> None:
        """Everything before a start, the first one and any after a crash; blocks. Raises EngineError."""
        self._own()
        try:
            self._prepare()
        except PermissionError as error:
            raise EngineError(f"{error.filename} is not ours to use: it was made by another account") from error

    def start(self) -> None:
        """Start and return when it answers. Raises EngineError with the end of its log.

        Started from the main thread it stops with this process even after a SIGKILL (Linux); the bond would be to the
        thread otherwise, so other threads start it without.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.prepare()
        command = self.command()
        with self.log_path.open("ab") as log:
            bound = threading.current_thread() is threading.main_thread()
            self._process = subprocess.Popen(
                command.guarded(bound=bound),
                env=dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + self.start_seconds
        while not self.is_ready(self._process.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise EngineError(f"{self.name} did not start; the end of {self.log_path}:\n{self._log_tail()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it and give up the state directory; harmless when it does not run."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(self.command().stop_signal)
            try:
                self._process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self.close()

    def close(self) -> None:
        """Give up the state directory, the server being gone."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def pid(self) -> int | None:
        """The main process of a server started by `start`."""
        return self._process.pid if self._process is not None else None

    @property
    def log_path(self) -> Path:
        """Where a server started by `start` writes."""
        return self.state / f"{self.name}.log"

    def _own(self) -> None:
        if self._lock is not None:
            return
        self.state.mkdir(parents=True, exist_ok=True)
        lock = (self.state / f"{self.name}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise EngineError(f"{self.name} in {self.state} is run by another process") from None
        self._lock = lock

    def _log_tail(self) -> str:
        with suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-15:])
        return "(no log)"

    def _secret(self) -> str:
        """The password of this engine, made once; only this account may read it."""
        path = self.state / f"{self.name}.password"
        with suppress(FileNotFoundError):
            if kept := path.read_text():
                return kept
        made = secrets.token_urlsafe(24)
        write_private(path, made)
        return made


def package_directory(package: str) -> Path:
    """Where a wheel was unpacked, without importing it. Raises EngineError."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EngineError(f"{package} is not installed: the embedded engines come with requirements-dev.txt")
    return Path(spec.origin).parent
