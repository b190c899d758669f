"""What the job is told that synchronises the marketplace's products."""

from typing import ClassVar

from app.core.jobs import JobMessage, Retry


class SyncCatalogue(JobMessage):
    """Each attempt goes on at the page at which the one before it stopped."""

    name: ClassVar[str] = "catalogue.sync"
    retry: ClassVar[Retry] = Retry(max_attempts=12, base=2, cap=300)
    timeout: ClassVar[float] = 900
    max_running: ClassVar[int | None] = 1
    for_staff: ClassVar[bool] = True

    again: bool = False
    """After one that has begun already: it may have read what has changed since."""

    def unique_key(self) -> str:
        return "marketplace, again" if self.again else "marketplace"
