"""How far an attempt is, written to the ledger seldom enough to cost nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from app.core.database import is_unavailable
from app.core.jobs import Progress
from app.core.logging import get_logger

log = get_logger(__name__)
INTERVAL = 0.5
"""Seconds between two writes; what is reported in between is kept, and the last of it always gets written."""
MAX_NOTE = 300


class LeaseLost(Exception):
    """The attempt is over for the ledger (cancelled, timed out, taken over): what it would still write is dropped."""


class ProgressLine:
    """The reports of one attempt. `write` gives False when the ledger believes in another attempt, or in none."""

    def __init__(self, write: Callable[[Progress], Awaitable[bool]]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._pending: Progress | None = None
        self._due = 0.0
        self._writing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.over = False
        self.nudge = asyncio.Event()

    async def report(self, progress: Progress) -> None:
        self.keep(progress)
        await self.flush()

    def report_from_thread(self, progress: Progress) -> None:
        self.keep(progress)
        if time.monotonic() >= self._due:
            self._loop.call_soon_threadsafe(self._flush_soon)

    def keep(self, progress: Progress) -> None:
        """Remember a report; LeaseLost when nobody wants it any more."""
        if self.over:
            raise LeaseLost
        note = progress.note and progress.note.replace("\0", "")[:MAX_NOTE]
        self._pending = Progress(progress.done, progress.total, note)

    def take(self) -> Progress | None:
        """What is still to be written, for whoever writes to the row anyway."""
        pending, self._pending = self._pending, None
        return pending

    async def flush(self) -> None:
        """Write what is pending, if it is time to."""
        if self._writing or time.monotonic() < self._due or (progress := self.take()) is None:
            return
        self._writing = True
        try:
            held = await self._write(progress)
        except Exception as error:
            if not is_unavailable(error):
                raise
            # A job does not fail because nobody could look on; the next report, or the end, makes good for it.
            self._pending = self._pending or progress
            log.debug("progress not written", error=repr(error))
        else:
            if not held:
                self.over = True
                raise LeaseLost
        finally:
            self._writing, self._due = False, time.monotonic() + INTERVAL

    def _flush_soon(self) -> None:
        async def flush() -> None:
            try:
                await self.flush()
            except LeaseLost:
                return

        task = self._loop.create_task(flush())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
