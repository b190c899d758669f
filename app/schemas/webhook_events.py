"""Webhooks from partners, as admins see them."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.core.enums import WebhookProvider, WebhookStatus
from app.core.listing import EQUALITY, ORDER, TEXT, Filterable, Listing
from app.schemas.base import Id, Instant, Out, ShortText

WEBHOOK_EVENTS = Listing(
    "webhook_events",
    filters={
        "provider": Filterable(WebhookProvider, EQUALITY),
        "status": Filterable(WebhookStatus, EQUALITY),
        "type": Filterable(ShortText, TEXT),
        "received_at": Filterable(Instant, ORDER),
    },
    sorts={"id": Id, "received_at": datetime},
)


class WebhookAccepted(Out):
    """The event is stored, now or already before."""

    event_id: str


class WebhookEventRead(Out):
    """`status` is `received` until its job has handled it; `ignored` when its type means nothing to us; `failed` when
    it makes no sense, and `error` says why."""

    id: int
    provider: WebhookProvider
    event_id: str = Field(description="as its sender has named it")
    type: str | None
    status: WebhookStatus
    error: str | None
    job_id: int = Field(description="the job that handles it")
    received_at: datetime
    handled_at: datetime | None


class WebhookEventDetail(WebhookEventRead):
    headers: dict[str, str]
    body: Any = Field(description="the JSON that was signed")
