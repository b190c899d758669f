"""What the job of a notification is told."""

from typing import ClassVar

from app.core.jobs import JobMessage, Retry


class SendNotification(JobMessage):
    """Its attempts go on where the last one stopped; their delays outlast a mail server that is away for an hour."""

    name: ClassVar[str] = "notification.send"
    retry: ClassVar[Retry] = Retry(max_attempts=10, base=10, cap=1800)
    timeout: ClassVar[float] = 3000
    for_staff: ClassVar[bool] = True
    notification_id: int
