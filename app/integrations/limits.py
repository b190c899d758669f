"""What holds our own eagerness back, in each process: calls at once, calls per second, retries."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.integrations.deadline import Deadline
from app.integrations.errors import Busy, RateLimited
from app.integrations.policy import Policy


class Gate:
    """Lets calls through at the policy's pace, and holds them while the partner has asked for a pause."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._slots = asyncio.Semaphore(policy.concurrency)
        # The generic cell rate algorithm: the time at which the next call would be due without any burst.
        self._due = 0.0
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """Hold further calls for so long: the partner has said when to come back."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    @asynccontextmanager
    async def slot(self, deadline: Deadline) -> AsyncIterator[None]:
        """Room for one call. Raises Busy or RateLimited when there will be none in time; nothing was sent then."""
        patience = Deadline.after(min(self._policy.queue, deadline.left()))
        try:
            async with asyncio.timeout(patience.left()):
                await self._slots.acquire()
        except TimeoutError:
            raise Busy(f"{self._policy.concurrency} calls are under way", sent=False) from None
        try:
            await self._pace(patience)
            yield
        finally:
            self._slots.release()

    async def _pace(self, patience: Deadline) -> None:
        now = time.monotonic()
        if (pause := self._paused_until - now) > 0:
            if pause > patience.left():
                raise RateLimited("the partner asked for a pause", sent=False, retry_after=pause)
            await asyncio.sleep(pause)
        if self._policy.rate is None:
            return
        interval, now = 1 / self._policy.rate, time.monotonic()
        due = max(self._due, now)
        wait = due - (self._policy.burst - 1) * interval - now
        if wait > patience.left():
            raise Busy(f"more than {self._policy.rate:g} calls per second", sent=False, retry_after=wait)
        self._due = due + interval
        if wait > 0:
            await asyncio.sleep(wait)


class RetryBudget:
    """Retries are paid for by calls, so that an outage is not multiplied by them."""

    def __init__(self, policy: Policy) -> None:
        self._ratio, self._reserve = policy.retry_ratio, policy.retry_reserve
        self._tokens = self._reserve

    def earn(self) -> None:
        self._tokens = min(self._reserve, self._tokens + self._ratio)

    def spend(self) -> bool:
        """Whether one more retry is affordable; it is paid for then."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
