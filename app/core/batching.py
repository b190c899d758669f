"""Group commit: what many callers bring at the same time is written in one piece."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from app.core.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")


def _one(_: object) -> int:
    return 1


def _never(_: Exception) -> bool:
    return False


class Batcher(Generic[T, R]):
    """Hands to `flush` whatever has come while the flush before was under way; a lone item goes at once.

    `flush` gives a result for each item, in their order. `weigh` is an item's share of the two limits: of one batch,
    and of all that may wait (Unavailable beyond it). A batch that is refused with an error which is the fault of an
    item, by `separable`, is flushed again item by item, so that it takes no other with it.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        batch: int,
        waiting: int,
        weigh: Callable[[T], int] = _one,
        separable: Callable[[Exception], bool] = _never,
    ) -> None:
        self._flush = flush
        self._weigh = weigh
        self._separable = separable
        self._batch, self._limit = batch, waiting
        self._waiting: deque[tuple[T, int, asyncio.Future[R]]] = deque()
        self._weight = 0
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: T, *, patience: float | None = None) -> R:
        """The item's result, once it has been flushed; raises what its flush raised, TimeoutError after `patience`."""
        weight = self._weigh(item)
        if self._waiting and self._weight + weight > self._limit:
            raise Unavailable
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, weight, future))
        self._weight += weight
        if self._task is None or self._task.done():
            # A context of its own: what it logs is not the line of whoever came first.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        async with asyncio.timeout(patience):
            return await future

    async def _run(self) -> None:
        # Whoever comes in the same turn of the loop comes along.
        await asyncio.sleep(0)
        while self._waiting:
            taken = self._take()
            if not taken:
                continue
            try:
                await self._settle(taken)
            finally:
                # Only of one that was cancelled are there any left.
                for _, future in taken:
                    future.cancel()

    def _take(self) -> list[tuple[T, "asyncio.Future[R]"]]:
        taken: list[tuple[T, asyncio.Future[R]]] = []
        weight = 0
        while self._waiting and (not taken or weight + self._waiting[0][1] <= self._batch):
            item, own, future = self._waiting.popleft()
            self._weight -= own
            # Whoever has given up in the meantime was told that it failed.
            if not future.done():
                taken.append((item, future))
                weight += own
        return taken

    async def _settle(self, taken: Sequence[tuple[T, "asyncio.Future[R]"]]) -> None:
        try:
            results = await self._flush([item for item, _ in taken])
        except Exception as error:  # noqa: BLE001 - it is every caller's to deal with
            if len(taken) > 1 and self._separable(error):
                for one in taken:
                    await self._settle([one])
                return
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in zip(taken, results, strict=True):
                if not future.done():
                    future.set_result(result)
