"""Events to and from other services."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.core.database import Database, is_unavailable
from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.core.metrics import EVENTS_RECEIVED
from app.crud import received_events
from app.integrations.event_bus import Delivery, EventBus, OuterEvent
from app.schemas.messages.outer_events import PublishEvent

log = get_logger(__name__)
SOURCE = "frontdesk"


@dataclass(frozen=True, slots=True)
class OuterEventService:
    """`attempts`: deliveries of a message before it is set aside."""

    database: Database
    bus: EventBus | None
    """None: there is nobody to talk to."""
    attempts: int

    async def publish(self, message: PublishEvent, *, job_key: str) -> dict[str, Any]:
        """Say it to the others. A job that runs again says it again, under the same id."""
        if self.bus is None:
            return {"skipped": "events are switched off"}
        event = OuterEvent(
            id=job_key, type=message.type, source=SOURCE, occurred_at=message.occurred_at, data=message.data
        )
        await self.bus.publish(event)
        return {"event_id": event.id}

    async def receive(self) -> int:
        """Deal with what others have said: stored first, acknowledged then. How many messages that were.

        Raises when the bus or the database is away.
        """
        if self.bus is None:
            return 0
        deliveries = await self.bus.receive()
        for delivery in deliveries:
            EVENTS_RECEIVED.labels(await self._deal_with(self.bus, delivery)).inc()
        return len(deliveries)

    async def take(self, event: OuterEvent) -> bool:
        """Keep what another service says; whether it is new. Committed when this returns."""
        async with self.database.session_scope() as session:
            return await received_events.keep(
                session,
                source=event.source,
                event_id=event.id,
                kind=event.type,
                occurred_at=event.occurred_at,
                data=event.data,
            )

    async def _deal_with(self, bus: EventBus, delivery: Delivery) -> str:
        try:
            event = OuterEvent.model_validate_json(delivery.body)
        except ValidationError as error:
            log.warning("event set aside", message=delivery.handle, faults=error.error_count())
            await bus.bury(delivery, reason="not an event")
            return "malformed"
        try:
            new = await self.take(event)
        except Exception as error:
            if is_unavailable(error) or isinstance(error, Unavailable):
                # No fault of the message: it comes again however often that takes.
                raise
            log.warning("event not taken", event_id=event.id, attempt=delivery.attempts, error=type(error).__name__)
            if delivery.attempts < self.attempts:
                return "failed"
            await bus.bury(delivery, reason=type(error).__name__)
            return "buried"
        await bus.ack(delivery)
        return "taken" if new else "known"
