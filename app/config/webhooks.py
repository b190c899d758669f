"""Webhooks that we send."""

from pydantic import Field

from app.config.common import CommaSeparated, Concern


class WebhooksSettings(Concern):
    """`allow_private` names networks in CIDR form and host names that are called though they are not public, by plain
    http too; nobody else's address is ever called but over https on the public internet."""

    allow_private: CommaSeparated = Field(default=[])
    concurrency: int = Field(default=200, ge=1, le=2000, description="slots for deliveries in each I/O worker")
    per_endpoint: int = Field(default=2, ge=1, description="of them, to one endpoint; one while it fails")
