"""What has to be told that the server stops: answers that would otherwise go on for as long as their clients listen."""

from collections.abc import Callable

_callbacks: set[Callable[[], None]] = set()


def on_shutdown(callback: Callable[[], None]) -> Callable[[], None]:
    """Call `callback` when the server begins to stop; returns what takes that back."""
    _callbacks.add(callback)
    return lambda: _callbacks.discard(callback)


def begin_shutdown() -> None:
    while _callbacks:
        _callbacks.pop()()
