"""The record of security events and of what admins did (decision 0030)."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import ActorType
from app.models.base import WithId, enum_column, one_of


class AuditEvent(WithId, Base):
    """One action. Its migration has the trigger that refuses every change; only the old are removed, by a function.

    No foreign keys: the record outlives what it speaks of.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint(one_of("actor_type", ActorType), name="actor_type"),
        Index(None, "at"),
        Index(None, "actor_id", "id"),
        Index(None, "action", "id"),
        Index(None, "object_type", "object_id", "id"),
    )

    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor_type: Mapped[ActorType] = mapped_column(enum_column(ActorType))
    actor_id: Mapped[int | None]
    action: Mapped[str] = mapped_column(Text)
    object_type: Mapped[str] = mapped_column(Text)
    object_id: Mapped[int | None]
    address: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    changes: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
