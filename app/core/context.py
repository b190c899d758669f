"""What caused the work: bound once at the edge (request, job), read where a job is enqueued or a line is logged."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Cause:
    """The request and user that the current work goes back to; travels with every job it enqueues.

    `address` is the client's, behind trusted proxies too; it stays with the request.
    """

    request_id: str | None = None
    traceparent: str | None = None
    user_id: int | None = None
    address: str | None = None


_cause: ContextVar[Cause] = ContextVar("cause", default=Cause())  # noqa: B039 - frozen
# One variable for all of a line's fields: structlog's own has one for each, which every request would pay for.
_fields: ContextVar[Mapping[str, object]] = ContextVar("fields", default={})  # noqa: B039 - replaced, never changed


def current_cause() -> Cause:
    return _cause.get()


def bind_user(user_id: int) -> None:
    """Note who is signed in, for log lines and enqueued jobs of this request."""
    _cause.set(replace(_cause.get(), user_id=user_id))
    _fields.set({**_fields.get(), "user_id": user_id})


@contextmanager
def bound(cause: Cause, **fields: object) -> Iterator[None]:
    """Bind `cause`, and `fields` for log lines, until the block ends."""
    token = _cause.set(cause)
    if cause.request_id is not None:
        fields["request_id"] = cause.request_id
    if cause.user_id is not None:
        fields["user_id"] = cause.user_id
    if cause.traceparent is not None:
        fields["trace_id"] = cause.traceparent[3:35]
    fields_token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(fields_token)
        _cause.reset(token)


def bound_fields() -> Mapping[str, object]:
    """What lines have from where they are written."""
    return _fields.get()


def bind_fields(fields: Mapping[str, object]) -> None:
    """Let lines have these, until their context ends."""
    _fields.set(fields)


def merge_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor that puts what is bound into a line; the line's own fields win."""
    for name, value in _fields.get().items():
        event.setdefault(name, value)
    return event
