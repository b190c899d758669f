"""Domain events: a service says what has happened; whoever is concerned acts on it in the same transaction.

So the service that books knows nothing of mails or webhooks, and what they write is there exactly when the booking is.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from app.core.database import WriteSession


class Event(BaseModel):
    """Something that has happened to one object. Its fields are its payload, as partners get it: ids and values."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    name: ClassVar[str]
    """For good: partners subscribe to it."""
    object_type: ClassVar[str]
    id: int
    """Of the object."""

    def payload(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


Handler = Callable[[WriteSession, Any], Awaitable[None]]
"""One small step: an INSERT, a job. It is inside the transaction, so it never waits for the outer world."""
Handlers = Mapping[type[Event], Sequence[Handler]]


def record(session: WriteSession, event: Event) -> None:
    """Note what has happened. It is handled just before the commit, and never when the transaction rolls back."""
    session.recorded.append(event)


class Dispatcher:
    """What runs before each commit. The handlers of an event run in the order of the table, the events in the order of
    their recording; a handler that fails fails the transaction."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    async def __call__(self, session: WriteSession) -> None:
        """Handle everything recorded, and what the handlers themselves record."""
        while session.recorded:
            # Flushed, so that handlers see what the service wrote: sessions of this house never do so by themselves.
            await session.flush()
            event = session.recorded.pop(0)
            for handle in self._handlers[type(event)]:
                await handle(session, event)
