"""Counting failed sign-ins on Redis, and in this process while Redis is away (decision 0033)."""

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.util import WindowStats
from redis.exceptions import RedisError

from app.core.addresses import subscriber
from app.core.errors import RateLimited
from app.core.logging import get_logger
from app.core.metrics import LIMITED

log = get_logger(__name__)
RETRY_REDIS_AFTER = 5.0
AWAY = (RedisError, OSError, TimeoutError)


class SharedStorage:
    """Redis, left alone for a while when it did not answer: else every request would wait for the same dead one."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._again_at = 0.0

    @property
    def usable(self) -> bool:
        return time.monotonic() >= self._again_at

    def shun(self, error: Exception) -> None:
        self._again_at = time.monotonic() + RETRY_REDIS_AFTER
        log.warning("Redis is away; this process counts by itself", error=repr(error))


@dataclass(frozen=True, slots=True)
class Allowance:
    """Failures within the window: of one account from one address, and of one address. An account that fails `attack`
    times, from wherever, is under attack: then each address has only `attacked` failures with it."""

    account: int
    address: int = 1000
    attack: int = 50
    attacked: int = 3


class FailureLimit:
    """Too many failures of an account from an address, or of an address, within `window` seconds: the next try raises
    RateLimited.

    Nothing is counted against an account alone: a stranger's failures make every address's allowance smaller, but never
    take the owner's own away.
    """

    def __init__(self, storage: Storage, *, amount: int, window: int, allowance: Allowance | None = None) -> None:
        allowance = allowance or Allowance(amount)
        self._shared = SharedStorage(storage)
        self._by_redis = MovingWindowRateLimiter(storage)
        self._by_process = MovingWindowRateLimiter(MemoryStorage())
        self._attacked = allowance.attacked
        # Limits of one amount share their keys: the names tell them apart.
        self._pair = RateLimitItemPerSecond(allowance.account, window)
        self._address = RateLimitItemPerSecond(allowance.address, window, "ADDRESS")
        self._account = RateLimitItemPerSecond(allowance.attack, window, "ACCOUNT")

    async def check(self, account: str, address: str) -> None:
        """Raise RateLimited, with the seconds until the next try, when too many have failed."""
        stats = [await self._stats(item, *key) for item, *key in self._keys(account, address)]
        pair, *others = stats
        closed = [one for one in stats[:2] if one.remaining <= 0]
        used = self._pair.amount - pair.remaining
        if len(others) == 2 and others[1].remaining <= 0 and used >= self._attacked:
            closed.append(pair)
        if closed:
            LIMITED.labels("sign_in").inc()
            raise RateLimited(math.ceil(max(one.reset_time for one in closed) - time.time()))

    async def record(self, account: str, address: str) -> None:
        """Count one failure."""
        for item, *key in self._keys(account, address):
            await self._hit(item, *key)

    def _keys(self, account: str, address: str) -> list[tuple[RateLimitItem, *tuple[str, ...]]]:
        account, whose = account.lower(), subscriber(address)
        if whose is None:
            return [(self._pair, account, address)]
        return [(self._pair, account, whose), (self._address, whose), (self._account, account)]

    async def _stats(self, item: RateLimitItem, *key: str) -> WindowStats:
        if self._shared.usable:
            try:
                return await self._by_redis.get_window_stats(item, *key)
            except AWAY as error:
                self._shared.shun(error)
        return await self._by_process.get_window_stats(item, *key)

    async def _hit(self, item: RateLimitItem, *key: str) -> None:
        if self._shared.usable:
            try:
                await self._by_redis.hit(item, *key)
            except AWAY as error:
                self._shared.shun(error)
            else:
                return
        await self._by_process.hit(item, *key)
