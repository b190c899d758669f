"""What is to be started: a program, its environment, and what binds it to whoever starts it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.account import Account

MARKER = "FRONTDESK_STATE"


@dataclass(frozen=True)
class Command:
    """One program to start; `argv[0]` is an absolute path."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stop_signal: signal.Signals = signal.SIGTERM
    account: Account | None = None
    capability: str | None = None
    noise: tuple[str, ...] = ()  # lines with one of these say nothing that matters here

    def guarded(self, *, bound: bool = True) -> list[str]:
        """The argument list that drops root and, when `bound`, passes `stop_signal` on when this thread ends."""
        arguments = ["--parent", str(os.getpid())]
        if bound:
            arguments += ["--death-signal", str(int(self.stop_signal))]
        if self.account is not None:
            arguments += ["--uid", str(self.account.uid), "--gid", str(self.account.gid)]
            if self.capability is not None:
                arguments += ["--capability", self.capability]
        wrapper = str(Path(__file__).with_name("child.py"))
        return [sys.executable, "-I", "-S", wrapper, *arguments, "--", *self.argv]


def marked(env: Mapping[str, str], state: Path) -> dict[str, str]:
    """`env` with the marker by which the leftovers of this state directory are found.

    It comes last, because servers overwrite the front of that memory with their process title.
    """
    return {**{name: value for name, value in env.items() if name != MARKER}, MARKER: str(state)}
