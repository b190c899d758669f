"""What the job is told that synchronises the marketplace's products."""

from typing import ClassVar

from app.core.jobs import JobMessage, Retry


class SyncCatalogue(JobMessage):
    """Each attempt goes on at the page at which the one before it stopped."""

    name: ClassVar[str] = "catalogue.sync"
    retry: ClassVar[Retry] = Retry(max_attempts=12, base=2, cap=300)
    timeout: ClassVar[float] = 900

    def unique_key(self) -> str:
        return "marketplace"
