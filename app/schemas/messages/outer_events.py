"""What the job is told that publishes an event."""

from datetime import datetime
from typing import Any, ClassVar

from app.core.jobs import JobMessage, Retry


class PublishEvent(JobMessage):
    name: ClassVar[str] = "event.publish"
    retry: ClassVar[Retry] = Retry(max_attempts=20, cap=3600)
    type: str
    occurred_at: datetime
    data: dict[str, Any]
