"""One readable log out of many processes."""

from __future__ import annotations

import os
import sys
import threading
import time
from asyncio import StreamReader
from collections import deque
from pathlib import Path
from typing import TextIO

COLOURS = {
    "frontdesk": 37,
    "postgres": 34,
    "redis": 31,
    "migrate": 35,
    "seed": 35,
    "api": 32,
    "worker": 36,
    "celery": 33,
    "sandbox": 95,
}
LONGEST_LINE = 16 * 1024
MOST_WAITING = 20_000


def wants_colour(stream: TextIO) -> bool:
    """Colour is for terminals, and for those who did not decline it (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Output:
    """Prefixed lines on one stream, written by a thread of its own.

    A terminal that stands still never blocks a process: beyond 20,000 waiting lines the rest is dropped and counted.
    """

    def __init__(self, stream: TextIO | None = None, *, width: int = 9) -> None:
        self._stream = stream or sys.stdout
        self._colour = wants_colour(self._stream)
        self._width = width
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="output", daemon=True)
        self._writer.start()

    def line(self, name: str, text: str) -> None:
        """One line of one process."""
        prefix = f"{name:<{self._width}} |"
        if self._colour:
            prefix = f"\033[{COLOURS.get(name, 37)}m{prefix}\033[0m"
        self.bare(f"{prefix} {text}")

    def bare(self, text: str) -> None:
        """One line without a prefix."""
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._dropped += 1
            else:
                self._waiting.append(text)
            self._changed.notify()

    async def forward(self, name: str, stream: StreamReader, *, without: tuple[str, ...] = ()) -> None:
        """Every line of a process until it closes the stream; a longer one than 16 KiB is cut and says so."""
        kept, cut = b"", 0
        while chunk := await stream.read(64 * 1024):
            *whole, rest = (kept + chunk).split(b"\n")
            for line in whole:
                text = shown(line, cut)
                if not any(noise in text for noise in without):
                    self.line(name, text)
                cut = 0
            cut += max(0, len(rest) - LONGEST_LINE)
            kept = rest[:LONGEST_LINE]
        if kept:
            self.line(name, shown(kept, cut))

    def close(self, seconds: float = 2.0) -> None:
        """Write what waits, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._writer.join(max(0.0, deadline - time.monotonic()))

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                lines, dropped = list(self._waiting), self._dropped
                self._waiting.clear()
                self._dropped = 0
                if not lines and self._closed:
                    return
            if dropped:
                lines.append(f"… {dropped} lines dropped: the terminal was too slow")
            try:
                self._stream.write("".join(line + "\n" for line in lines))
                self._stream.flush()
            except OSError:  # nobody reads any more, which is no reason to stop serving
                with Path(os.devnull).open("w") as nowhere:
                    os.dup2(nowhere.fileno(), self._stream.fileno())


def shown(line: bytes, cut: int = 0) -> str:
    """Bytes of a log as text that can't disturb a terminal beyond its colours."""
    over = cut + max(0, len(line) - LONGEST_LINE)
    text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
    text = "".join(c if c >= " " or c in "\t\033" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return f"{text} … ({over} bytes cut)" if over else text
