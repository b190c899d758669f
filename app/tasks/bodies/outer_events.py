"""Body of the job that publishes an event."""

from typing import Any

from app.schemas.messages.outer_events import PublishEvent
from app.services.outer_events import OuterEventService
from app.tasks.attempt import Attempt, Bodies


def outer_event_bodies(outer_events: OuterEventService) -> Bodies:
    async def publish(message: PublishEvent, attempt: Attempt) -> Any:
        return await outer_events.publish(message, job_key=attempt.job_key)

    return {PublishEvent: publish}
