"""How long a caller is willing to wait, for everything that it calls in turn."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_ends: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Calls to partners inside the block end within so many seconds altogether, retries included.

    An outer block that ends sooner still holds.
    """
    ends, outer = time.monotonic() + seconds, _ends.get()
    token = _ends.set(ends if outer is None else min(ends, outer))
    try:
        yield
    finally:
        _ends.reset(token)


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one call, on the monotonic clock."""

    ends: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """In so many seconds, or when the caller's time is over, whichever comes first."""
        ends, outer = time.monotonic() + seconds, _ends.get()
        return cls(ends if outer is None else min(ends, outer))

    def left(self) -> float:
        return max(0.0, self.ends - time.monotonic())
