"""Audit events on the wire."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.core.enums import ActorType
from app.core.listing import EQUALITY, ORDER, Filterable, Listing
from app.schemas.base import Id, Instant, Out, ShortText

AUDIT_EVENTS = Listing(
    "audit_events",
    filters={
        "at": Filterable(Instant, ORDER),
        "actor_type": Filterable(ActorType, EQUALITY),
        "actor_id": Filterable(Id, EQUALITY),
        "action": Filterable(ShortText, EQUALITY),
        "object_type": Filterable(ShortText, EQUALITY),
        "object_id": Filterable(Id, EQUALITY),
        "address": Filterable(ShortText, EQUALITY),
        "request_id": Filterable(ShortText, EQUALITY),
    },
    sorts={"id": Id},
)


class AuditEventRead(Out):
    id: int
    at: datetime
    actor_type: ActorType
    actor_id: int | None
    action: str = Field(description="noun and verb, such as `doctor.updated`")
    object_type: str
    object_id: int | None
    address: str | None
    request_id: str | None
    changes: dict[str, Any] = Field(description="for a change of fields `{field: {from, to}}`; never a secret")
