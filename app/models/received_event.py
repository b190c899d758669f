"""Events of other services."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.models.base import Created, WithId


class ReceivedEvent(WithId, Created, Base):
    """One event, once, however often it came."""

    __tablename__ = "received_events"
    __table_args__ = (UniqueConstraint("source", "event_id"), Index(None, "type", "id"))

    source: Mapped[str] = mapped_column(Text)
    event_id: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    occurred_at: Mapped[datetime]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
