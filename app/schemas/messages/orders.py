"""What a job about an order is told."""

from enum import StrEnum
from typing import ClassVar

from app.core.jobs import JobMessage


class OrderMail(StrEnum):
    PLACED = "placed"
    PAID = "paid"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUNDED = "refunded"


class SendOrderMail(JobMessage):
    name: ClassVar[str] = "mail.order"
    order_id: int
    kind: OrderMail


class ExpireOrder(JobMessage):
    """Enqueued with the order, for the moment at which its time to be paid is over."""

    name: ClassVar[str] = "order.expire"
    order_id: int
