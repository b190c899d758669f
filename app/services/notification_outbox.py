"""What the sender of a notification keeps: its pace, and the outcomes that are not in the database yet."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from app.core.database import Database, is_retryable, is_unavailable
from app.crud.notifications import notifications

BATCH = 50
SECONDS = 0.25
"""Outcomes are written after so many, or with the first mail after so long. Those that are not are in doubt when the
process dies, and are sent again under the same Message-ID."""
PATIENCE = 10
_SHORTEST_SLEEP = 0.005


class Pace:
    """At most `rate` turns a second."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next = monotonic()

    async def turn(self) -> None:
        now = monotonic()
        # What was missed is not caught up with, but for the last moment: sleeping is never exact.
        self._next = max(self._next, now - 10 * _SHORTEST_SLEEP) + self._interval
        if self._next - self._interval - now > _SHORTEST_SLEEP:
            await asyncio.sleep(self._next - self._interval - now)


@dataclass(slots=True)
class Outbox:
    """Outcomes of one notification, written in batches: `None` for sent, or why it failed."""

    database: Database
    notification_id: int
    written: int = 0
    _outcomes: dict[int, str | None] = field(default_factory=dict)
    _since: float = 0

    async def note(self, user_id: int, reason: str | None = None) -> bool:
        """Keep an outcome; whether it is in the database now, with all before it."""
        if not self._outcomes:
            self._since = monotonic()
        self._outcomes[user_id] = reason
        if len(self._outcomes) < BATCH and monotonic() - self._since < SECONDS:
            return False
        await self.flush()
        return True

    async def flush(self) -> None:
        """Write what is kept, waiting a while for a database that is away: what is known would be in doubt again."""
        if not self._outcomes:
            return
        async for one in AsyncRetrying(
            stop=stop_after_delay(PATIENCE),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            retry=retry_if_exception(lambda error: is_unavailable(error) or is_retryable(error)),
            reraise=True,
        ):
            with one:
                async with self.database.session_scope() as session:
                    await notifications.record(session, self.notification_id, self._outcomes)
        self.written += len(self._outcomes)
        self._outcomes.clear()
