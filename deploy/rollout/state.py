"""What this host has been asked for and how far it has come: one file, replaced as a whole, and a lock beside it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from deploy.rollout.errors import Busy, RolloutError

LEFT_SECONDS = 60.0


class Step(StrEnum):
    """What may have happened to `target` since the last time that the state was written."""

    NOTHING = "nothing"
    STARTING = "starting"
    SWITCHING = "switching"
    DRAINING = "draining"


@dataclass(frozen=True)
class Generation:
    """`mark` is its name at the proxy, which nobody can guess."""

    number: int
    slot: str
    release: str
    mark: str

    def __str__(self) -> str:
        return f"generation {self.number} ({self.slot}, {self.release})"


@dataclass(frozen=True)
class State:
    """`current` serves; `former` is what `rollback` goes back to; `target` is to replace `current`."""

    current: Generation | None = None
    former: Generation | None = None
    target: Generation | None = None
    step: Step = Step.NOTHING
    last: int = 0

    def next(self, release: str) -> Generation:
        slot = "green" if self.current and self.current.slot == "blue" else "blue"
        return Generation(self.last + 1, slot, release, mark=f"{self.last + 1}-{secrets.token_hex(8)}")

    def at(self, step: Step, target: Generation) -> State:
        return replace(self, step=step, target=target, last=target.number)

    def given_up(self) -> State:
        return replace(self, step=Step.NOTHING, target=None)

    def done(self) -> State:
        """`target` is `current`."""
        again = self.target and self.current and self.target.release == self.current.release
        return State(current=self.target, former=self.former if again else self.current, last=self.last)


class Journal:
    """The state on disk: what was written is there after a crash of the machine, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "state.json"
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> State:
        if not self._file.exists():
            return State()
        try:
            values = json.loads(self._file.read_text(encoding="utf-8"))
            made = {name: _generation(values[name]) for name in ("current", "former", "target")}
            return State(**made, step=Step(values["step"]), last=int(values["last"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RolloutError(
                f"{self._file}: can't be read ({error!r}); see docs/runbooks/deployment-failed.md"
            ) from error

    def write(self, state: State) -> State:
        replace_file(self._file, json.dumps(asdict(state), indent=2) + "\n")
        return state

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Held by this process and by every command that it is given to, so that none of them outlives the lock.

        What a killed run has left running is waited for, for `LEFT_SECONDS`.
        """
        with (self._folder / "lock").open("a+") as file:
            deadline = time.monotonic() + LEFT_SECONDS
            while not _locked(file):
                file.seek(0)
                holder = file.read().strip()
                if _is_alive(holder) or time.monotonic() > deadline:
                    raise Busy(f"another deployment is under way (process {holder or '?'})")
                time.sleep(0.1)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield file.fileno()


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(holder: str) -> bool:
    try:
        os.kill(int(holder), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def _generation(values: dict[str, Any] | None) -> Generation | None:
    if not values:
        return None
    return Generation(int(values["number"]), str(values["slot"]), str(values["release"]), str(values["mark"]))


def replace_file(file: Path, text: str) -> None:
    """Either the old content or the new one, whatever happens in between. RolloutError when there is no room."""
    fresh = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(file)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise RolloutError(f"{file}: can't be written: {error.strerror}") from error
