"""Where partners want to be told of events, and what has been sent to them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import DeliveryStatus
from app.models.base import Created, SoftDeleted, Versioned, WithId, enum_column, one_of


class WebhookEndpoint(WithId, Created, SoftDeleted, Versioned, Base):
    """A subscription. Secrets are sealed; `previous_secret` signs beside the new one until `previous_until`.

    The deliverer keeps `failures` in a row since `failing_since`, and makes no attempt before `paused_until`; these
    three are its own and no part of the version.
    """

    __tablename__ = "webhook_endpoints"

    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_until: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(server_default="0", default=0)
    failing_since: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    created_by: Mapped[int]
    """A user, or below zero a service account, as everywhere; no foreign key, because it may be either."""


class WebhookDelivery(WithId, Created, Base):
    """One event for one endpoint; a ledger of its own (decision 0056).

    A claim counts the attempt and moves `next_attempt_at` behind the lease: whoever dies with it only delays it.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint(one_of("status", DeliveryStatus), name="status"),
        Index(
            "ix_webhook_deliveries_due",
            "endpoint_id",
            "next_attempt_at",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_webhook_deliveries_order",
            "endpoint_id",
            "object_type",
            "object_id",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_webhook_deliveries_leased", "endpoint_id", postgresql_where=text("leased_until IS NOT NULL")),
        Index(None, "endpoint_id", "id"),
        Index(None, "created_at"),
    )

    endpoint_id: Mapped[int] = mapped_column(ForeignKey("webhook_endpoints.id"))
    message_id: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    event: Mapped[str] = mapped_column(Text)
    object_type: Mapped[str] = mapped_column(Text)
    object_id: Mapped[int]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[DeliveryStatus] = mapped_column(
        enum_column(DeliveryStatus), server_default=DeliveryStatus.PENDING.value
    )
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    last_attempt_at: Mapped[datetime | None]
    response_status: Mapped[int | None]
    response_body: Mapped[str | None] = mapped_column(Text)
    duration_ms: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None]
