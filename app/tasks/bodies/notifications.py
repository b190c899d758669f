"""Body of the job that sends a notification."""

from typing import Any

from app.schemas.messages.notifications import SendNotification
from app.services.notifications import NotificationService
from app.tasks.attempt import Attempt, Bodies


def notification_bodies(notifications: NotificationService) -> Bodies:
    async def send(message: SendNotification, attempt: Attempt) -> Any:
        last = attempt.number >= message.retry.max_attempts
        return await notifications.send(message, last=last, progress=attempt.progress)

    return {SendNotification: send}
