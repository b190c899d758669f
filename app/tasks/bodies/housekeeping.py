"""Bodies of what the schedules enqueue."""

from typing import Any

from app.schemas.messages.housekeeping import Prune, SendDueReminders
from app.services.housekeeping import HousekeepingService
from app.tasks.attempt import Attempt, Bodies


def housekeeping_bodies(housekeeping: HousekeepingService) -> Bodies:
    async def remind(_: SendDueReminders, __: Attempt) -> Any:
        return {"reminders": await housekeeping.remind()}

    async def prune(message: Prune, attempt: Attempt) -> Any:
        return {"deleted": await housekeeping.prune(message.subject, progress=attempt.progress)}

    return {SendDueReminders: remind, Prune: prune}
