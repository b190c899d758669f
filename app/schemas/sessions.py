"""The own sessions on the wire."""

from datetime import datetime

from pydantic import Field

from app.core.listing import Listing
from app.schemas.base import Id, Instant, Out

SESSIONS = Listing("sessions", filters={}, sorts={"id": Id, "created_at": Instant, "last_seen_at": Instant})


class SessionRead(Out):
    id: int
    device: str = Field(description="what the client called itself (`User-Agent`)")
    address: str
    created_at: datetime
    last_seen_at: datetime = Field(description="the last sign-in or refresh")
    current: bool = Field(description="whether the request came by this one")
