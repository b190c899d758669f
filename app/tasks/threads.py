"""Threads of a process that may have to end although one of them does not."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
LOOK_SECONDS = 0.05


class CountedThreads(ThreadPoolExecutor):
    """As an event loop's default executor it knows whether a computation goes on that nobody waits for any more."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="compute")
        self._under_way: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future = super().submit(fn, *args, **kwargs)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def come_to_rest(self, *, within: float) -> bool:
        """Whether all threads are idle, at the latest after `within` seconds."""
        deadline = time.monotonic() + within
        while any(future.running() for future in list(self._under_way)):
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True
