"""Tells onlookers, and whoever runs it, what has become of a job, without making anybody wait for Redis.

What is lost on the way costs an onlooker seconds and a cancelled attempt one beat of its heart: both also look into the
ledger by themselves.
"""

import asyncio
import json
from collections import deque
from contextlib import suppress
from contextvars import Context
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.logging import get_logger

CHANGED = "frontdesk:job:"
"""The channel of one job's changes, followed by its id; nobody pays for what nobody watches."""
CANCELLED = "frontdesk:cancelled"
COALESCE_SECONDS = 0.005
MOST_WAITING = 2000
log = get_logger(__name__)


class Announcer(Protocol):
    def announce(self, channel: str, message: str) -> None: ...


class RedisAnnouncer:
    """Publishes in order, in batches, from a queue that drops its oldest when Redis is away for long."""

    def __init__(self, redis: Redis, *, coalesce: float = COALESCE_SECONDS) -> None:
        """`coalesce`: how many seconds the first may wait for others to be sent with it."""
        self._redis = redis
        self._coalesce = coalesce
        self._waiting: deque[tuple[str, str]] = deque(maxlen=MOST_WAITING)
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def announce(self, channel: str, message: str) -> None:
        self._waiting.append((channel, message))
        if self._task is None or self._task.done():
            # In nobody's context: most of what is sent is not of whoever comes first.
            self._task = asyncio.get_running_loop().create_task(self._publish(), context=Context())

    async def flush(self) -> None:
        """Send what was announced, and wait until it is sent: for a loop that does not turn between jobs."""
        if self._task is not None:
            self._hurry.set()
            await self._task
            self._hurry.clear()

    async def _publish(self) -> None:
        while self._waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._coalesce):
                    await self._hurry.wait()
            batch, self._waiting = self._waiting, deque(maxlen=MOST_WAITING)
            try:
                async with self._redis.pipeline(transaction=False) as pipe:
                    for channel, message in batch:
                        pipe.publish(channel, message)
                    await pipe.execute()
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("changes of jobs not announced", error=repr(error))


_announcer: Announcer | None = None


def use_announcer(announcer: Announcer | None) -> None:
    """Set once by the composition root of a process; None: onlookers find out by themselves."""
    global _announcer  # noqa: PLW0603 - one per process, like the event loop it belongs to
    _announcer = announcer


def announce_change(job_id: int, state: dict[str, Any]) -> None:
    """`state` is what an onlooker may see of the job now, its `version` among it."""
    if _announcer is not None:
        _announcer.announce(f"{CHANGED}{job_id}", json.dumps(state, default=str))


def announce_cancellation(job_id: int) -> None:
    if _announcer is not None:
        _announcer.announce(CANCELLED, str(job_id))
