"""Webhooks that partners sent."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, LargeBinary, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import WebhookProvider, WebhookStatus
from app.models.base import WithId, enum_column, one_of


class WebhookEvent(WithId, Base):
    """One event, kept under the id that its sender gave it, so that it is handled once however often it is sent.

    `body` holds the bytes that were signed, `headers` those that say something about the event and no signature.
    """

    __tablename__ = "webhook_events"
    __table_args__ = (
        UniqueConstraint("provider", "event_id"),
        CheckConstraint(one_of("provider", WebhookProvider), name="provider"),
        CheckConstraint(one_of("status", WebhookStatus), name="status"),
        Index(None, "received_at", "id"),
        Index("ix_webhook_events_open", "status", "id", postgresql_where=text("status <> 'handled'")),
    )

    provider: Mapped[WebhookProvider] = mapped_column(enum_column(WebhookProvider))
    event_id: Mapped[str] = mapped_column(Text)
    type: Mapped[str | None] = mapped_column(Text)
    headers: Mapped[dict[str, Any]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[WebhookStatus] = mapped_column(
        enum_column(WebhookStatus), server_default=WebhookStatus.RECEIVED.value
    )
    error: Mapped[str | None] = mapped_column(Text)
    job_id: Mapped[int]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    handled_at: Mapped[datetime | None]
