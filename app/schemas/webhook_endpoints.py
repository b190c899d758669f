"""Webhooks to partners, on the wire."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, AnyHttpUrl, Field, TypeAdapter, ValidationError

from app.core.enums import DeliveryStatus, EventName
from app.core.listing import EQUALITY, ORDER, Filterable, Listing
from app.schemas.base import Flag, Id, In, Instant, Out, storable, unset

MAX_URL = 1000
WEBHOOK_ENDPOINTS = Listing("webhook_endpoints", filters={"is_active": Filterable(bool, EQUALITY)}, sorts={"id": Id})
DELIVERIES = Listing(
    "webhook_deliveries",
    filters={
        "status": Filterable(DeliveryStatus, EQUALITY),
        "event": Filterable(EventName, EQUALITY),
        "created_at": Filterable(Instant, ORDER),
    },
    sorts={"id": Id},
)
_URL = TypeAdapter(AnyHttpUrl)


def _url(value: str) -> str:
    """In its normal form, so that what is checked, stored and called is read in one way only: `http://0x7f.1` is
    `http://127.0.0.1`."""
    try:
        normal = str(_URL.validate_python(value))
    except ValidationError:
        raise ValueError("must be an https address") from None
    parts = urlsplit(normal)
    if parts.username or parts.password or "@" in parts.netloc:
        raise ValueError("must not hold credentials: verify the signature")
    if parts.fragment or parts.port == 0 or not parts.hostname or len(normal) > 2 * MAX_URL:
        raise ValueError("must be an https address without a fragment")
    return normal


Url = Annotated[
    str,
    Field(max_length=MAX_URL, json_schema_extra={"pattern": "^https?://"}),
    AfterValidator(storable),
    AfterValidator(_url),
]
Events = Annotated[list[EventName], Field(min_length=1, max_length=50)]


class EndpointCreate(In):
    url: Url
    events: Events


class EndpointUpdate(In):
    url: Url = unset()
    events: Events = unset()
    is_active: Flag = unset()


class WebhookEndpointRead(Out):
    id: int
    url: str
    events: list[EventName]
    is_active: bool
    disabled_reason: str | None = Field(description="`gone`: it answered 410; `failing`: nothing else for three days")
    created_at: datetime


class WebhookEndpointSecret(WebhookEndpointRead):
    secret: str = Field(description="signs what is sent; shown this once")


class DeliveryRequest(Out):
    url: str
    headers: dict[str, str]
    body: Any


class DeliveryResponse(Out):
    status: int
    body: str = Field(description="its first 1,024 bytes")


class DeliveryRead(Out):
    """`response` and `error` are of the last attempt."""

    id: int
    endpoint_id: int
    event: str
    object_type: str
    object_id: int
    status: DeliveryStatus
    attempts: int
    request: DeliveryRequest
    response: DeliveryResponse | None
    error: str | None
    duration_ms: int | None
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
