"""Tells the relay that there is work, without ever making a request wait for Redis.

A lost wake-up costs a poll interval, never work: the relay looks into the ledger by itself.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.logging import get_logger

CHANNEL = "frontdesk:wake"
COALESCE_SECONDS = 0.005
log = get_logger(__name__)


class Waker(Protocol):
    def wake(self) -> None: ...


class RedisWaker:
    """Publishes at most one wake-up at a time, however many commits ask for one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def wake(self) -> None:
        if self._task is not None and not self._task.done():
            self._again = True
            return
        # Whoever comes first pays for others: it is no part of what he asked for.
        self._task = asyncio.get_running_loop().create_task(self._publish(), context=Context())

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(COALESCE_SECONDS)
            self._again = False
            try:
                await self._redis.publish(CHANNEL, b"1")
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("wake-up not sent; the relay will poll", error=repr(error))
            if not self._again:
                return


async def listen(
    redis: Redis, on_wake: Callable[[], None], others: Mapping[str, Callable[[bytes], None]] | None = None
) -> None:
    """Call `on_wake` for each wake-up, until cancelled. While Redis is away, whoever waits for them polls.

    What is published on a channel of `others` goes to its function.
    """
    heard = {channel.encode(): tell for channel, tell in (others or {}).items()}
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(CHANNEL, *heard)
                on_wake()
                while True:
                    message = await channel.get_message(ignore_subscribe_messages=True, timeout=5)
                    if message is None:
                        continue
                    if tell := heard.get(message["channel"]):
                        tell(message["data"])
                    else:
                        on_wake()
        except Exception as error:  # noqa: BLE001 - whatever breaks the channel, the listeners poll
            log.debug("not listening for wake-ups", error=repr(error))
            await asyncio.sleep(1)


_waker: Waker | None = None


def use_waker(waker: Waker | None) -> None:
    """Set once by the composition root of a process; None: the relay polls."""
    global _waker  # noqa: PLW0603 - one per process, like the event loop it belongs to
    _waker = waker


def wake_relay() -> None:
    if _waker is not None:
        _waker.wake()
