"""Payments of orders, as we know them from the provider."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import PaymentStatus
from app.models.base import Created, WithId, enum_column, one_of

ONE_LIVE_PAYMENT = "uq_payments_live"
LIVE = "status IN ('creating', 'pending')"


class Payment(WithId, Created, Base):
    """One attempt to pay one order. The row is there before the provider is asked, and `key` names it there for good:
    asking again under it gives the same payment. `provider_id` is what the provider calls it."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint(one_of("status", PaymentStatus), name="status"),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("status <> 'pending' OR provider_id IS NOT NULL", name="provider_id"),
        Index(ONE_LIVE_PAYMENT, "order_id", unique=True, postgresql_where=text(LIVE)),
        Index(None, "order_id", "id"),
    )

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    status: Mapped[PaymentStatus] = mapped_column(
        enum_column(PaymentStatus), server_default=PaymentStatus.CREATING.value, default=PaymentStatus.CREATING
    )
    amount: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    key: Mapped[UUID] = mapped_column(unique=True, server_default=text("gen_random_uuid()"))
    provider_id: Mapped[str | None] = mapped_column(Text, unique=True)
    checkout_url: Mapped[str | None] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
