"""Group commit: what many callers bring at the same time is written in one piece."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from app.core.errors import Unavailable

T = TypeVar("T")


class Batcher(Generic[T]):
    """Hands to `flush` whatever has come while the flush before was under way; a lone item goes at once.

    `weigh` is an item's share of the two limits: of one batch, and of all that may wait (Unavailable beyond it).
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[None]],
        *,
        weigh: Callable[[T], int],
        batch: int,
        waiting: int,
    ) -> None:
        self._flush = flush
        self._weigh = weigh
        self._batch, self._limit = batch, waiting
        self._waiting: deque[tuple[T, int, asyncio.Future[None]]] = deque()
        self._weight = 0
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: T, *, patience: float | None = None) -> None:
        """Returns when the item has been flushed; raises what its flush raised, TimeoutError after `patience`."""
        weight = self._weigh(item)
        if self._waiting and self._weight + weight > self._limit:
            raise Unavailable
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((item, weight, future))
        self._weight += weight
        if self._task is None or self._task.done():
            # A context of its own: what it logs is not the line of whoever came first.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        async with asyncio.timeout(patience):
            await future

    async def _run(self) -> None:
        # Whoever comes in the same turn of the loop comes along.
        await asyncio.sleep(0)
        while self._waiting:
            taken = self._take()
            if not taken:
                continue
            try:
                await self._flush([item for item, _ in taken])
                error: BaseException | None = None
            except Exception as raised:  # noqa: BLE001 - it is every caller's to deal with
                error = raised
            except asyncio.CancelledError as raised:
                self._settle(taken, raised)
                raise
            self._settle(taken, error)

    def _take(self) -> list[tuple[T, "asyncio.Future[None]"]]:
        taken: list[tuple[T, asyncio.Future[None]]] = []
        weight = 0
        while self._waiting and (not taken or weight + self._waiting[0][1] <= self._batch):
            item, own, future = self._waiting.popleft()
            self._weight -= own
            # Whoever has given up in the meantime was told that it failed.
            if not future.done():
                taken.append((item, future))
                weight += own
        return taken

    @staticmethod
    def _settle(taken: Sequence[tuple[T, "asyncio.Future[None]"]], error: BaseException | None) -> None:
        for _, future in taken:
            if future.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(None)
