"""What caused the work at hand: bound once at the edge (request, job), read where a job is enqueued or a line is logged."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import structlog


@dataclass(frozen=True, slots=True)
class Cause:
    """The request and user that the current work goes back to; travels with every job it enqueues."""

    request_id: str | None = None
    traceparent: str | None = None
    user_id: int | None = None


_cause: ContextVar[Cause] = ContextVar("cause", default=Cause())


def current_cause() -> Cause:
    return _cause.get()


def bind_user(user_id: int) -> None:
    """Note who is signed in, for log lines and enqueued jobs of this request."""
    _cause.set(replace(_cause.get(), user_id=user_id))
    structlog.contextvars.bind_contextvars(user_id=user_id)


@contextmanager
def bound(cause: Cause, **fields: object) -> Iterator[None]:
    """Bind `cause`, and `fields` for log lines, until the block ends."""
    token = _cause.set(cause)
    known = {"request_id": cause.request_id, "user_id": cause.user_id} | fields
    tokens = structlog.contextvars.bind_contextvars(**{key: value for key, value in known.items() if value is not None})
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**tokens)
        _cause.reset(token)
