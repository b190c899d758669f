"""Webhooks that we send."""

from collections.abc import Iterator

from pydantic import Field

from app.config.common import CommaSeparated, Concern
from app.config.exposure import is_too_wide


class WebhooksSettings(Concern):
    """`allow_private` names networks in CIDR form and host names that are called though they are not public, by plain
    http too; nobody else's address is ever called but over https on the public internet."""

    allow_private: CommaSeparated = Field(default=[])
    concurrency: int = Field(default=200, ge=1, le=2000, description="slots for deliveries in each I/O worker")
    per_endpoint: int = Field(default=2, ge=1, description="of them, to one endpoint; one while it fails")

    def production_faults(self) -> Iterator[str]:
        if any(map(is_too_wide, self.allow_private)):
            yield "WEBHOOKS_ALLOW_PRIVATE: has a network that is everybody's; name the networks of your own receivers"
