"""Webhooks to partners that follow from domain events."""

from app.core.database import WriteSession
from app.core.events import Event
from app.core.wakeup import wake_relay
from app.crud.webhook_deliveries import webhook_deliveries


async def announce(session: WriteSession, event: Event) -> None:
    """One delivery for each endpoint that wants the event."""
    added = await webhook_deliveries.add_for_subscribers(
        session, event=event.name, object_type=event.object_type, object_id=event.id, payload=event.payload()
    )
    if added:
        session.after_commit(wake_relay)
