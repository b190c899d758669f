"""Orders and what is in them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, PrimaryKeyConstraint, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import OrderStatus
from app.models.base import Created, Versioned, WithId, enum_column, one_of


class Order(WithId, Created, Versioned, Base):
    """A patient's order. While it waits for its payment it holds stock; `paid_at` stays when it is refunded.

    `total_amount` in minor units of `currency`, at the prices of the moment in which it was placed.
    """

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint(one_of("status", OrderStatus), name="status"),
        CheckConstraint("total_amount > 0", name="total_amount"),
        CheckConstraint("(status IN ('paid', 'refunded')) = (paid_at IS NOT NULL)", name="paid_at"),
        Index(None, "patient_id", "id"),
        Index(None, "patient_id", "created_at", "id"),
        Index(None, "created_at", "id"),
        Index("ix_orders_paid", "paid_at", "currency", postgresql_where=text("paid_at IS NOT NULL")),
    )

    patient_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    appointment_id: Mapped[int | None] = mapped_column(ForeignKey("appointments.id"))
    status: Mapped[OrderStatus] = mapped_column(
        enum_column(OrderStatus),
        server_default=OrderStatus.PENDING_PAYMENT.value,
        default=OrderStatus.PENDING_PAYMENT,
    )
    total_amount: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    expires_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]


class OrderItem(Base):
    """One product of an order, as it was when the order was placed; `price` of one piece, in the order's currency."""

    __tablename__ = "order_items"
    __table_args__ = (
        PrimaryKeyConstraint("order_id", "product_id"),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("price > 0", name="price"),
    )

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), index=True)
    position: Mapped[int]
    sku: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    quantity: Mapped[int]
    price: Mapped[int]
