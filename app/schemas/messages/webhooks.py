"""What a webhook job is told."""

from typing import ClassVar

from app.core.jobs import JobMessage, Priority


class HandleWebhook(JobMessage):
    """`event_id` is our own, not the sender's."""

    name: ClassVar[str] = "webhook.handle"
    # A partner that comes back after an outage sends thousands at once: mails go before them.
    priority: ClassVar[Priority] = Priority.LOW
    for_staff: ClassVar[bool] = True
    event_id: int


class RedeliverWebhook(JobMessage):
    name: ClassVar[str] = "webhook.redeliver"
    for_staff: ClassVar[bool] = True
    delivery_id: int
