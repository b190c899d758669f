"""Domain events that go out to other services."""

from datetime import UTC, datetime

from app.core.database import WriteSession
from app.core.events import Event, Handlers
from app.core.jobs import enqueue
from app.schemas.messages.outer_events import PublishEvent


async def publish(session: WriteSession, event: Event) -> None:
    """Accept the job that tells the others."""
    await enqueue(session, PublishEvent(type=event.name, occurred_at=datetime.now(UTC), data=event.payload()))


def published(handlers: Handlers) -> Handlers:
    """The table, with every event going out as its last act."""
    return {kind: (*acts, publish) for kind, acts in handlers.items()}
