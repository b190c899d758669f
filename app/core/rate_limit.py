"""Counting failed sign-ins on Redis, and in this process while Redis is away."""

import math
import time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from app.core.errors import RateLimited
from app.core.logging import get_logger

log = get_logger(__name__)
RETRY_REDIS_AFTER = 5.0


class FailureLimit:
    """At most `amount` failures per account and address within `window` seconds; the next try raises RateLimited.

    Keyed by both, so that a stranger's failures do not lock an honest user out of their own account.
    """

    def __init__(self, storage: Storage, *, amount: int, window: int) -> None:
        self._limit: RateLimitItem = RateLimitItemPerSecond(amount, window)
        self._shared = MovingWindowRateLimiter(storage)
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._shared_again_at = 0.0

    async def check(self, account: str, address: str) -> None:
        """Raise RateLimited, with the seconds until the next try, when too many have failed."""
        key = (account.lower(), address)
        stats = None
        if self._shared_usable():
            try:
                stats = await self._shared.get_window_stats(self._limit, *key)
            except (RedisError, OSError, TimeoutError) as error:
                self._shun(error)
        if stats is None:
            stats = await self._local.get_window_stats(self._limit, *key)
        if stats.remaining <= 0:
            raise RateLimited(math.ceil(stats.reset_time - time.time()))

    async def record(self, account: str, address: str) -> None:
        """Count one failure."""
        key = (account.lower(), address)
        if self._shared_usable():
            try:
                await self._shared.hit(self._limit, *key)
            except (RedisError, OSError, TimeoutError) as error:
                self._shun(error)
            else:
                return
        await self._local.hit(self._limit, *key)

    def _shared_usable(self) -> bool:
        return time.monotonic() >= self._shared_again_at

    def _shun(self, error: Exception) -> None:
        # Without this every sign-in would wait for the same dead Redis.
        self._shared_again_at = time.monotonic() + RETRY_REDIS_AFTER
        log.warning("Redis is away; failed sign-ins are counted in this process", error=repr(error))
