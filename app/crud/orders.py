"""Orders."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from app.core.database import AnyRow, AnySelect, ReadSession, WriteSession
from app.crud.base import CRUDBase, Where
from app.models import Order, OrderItem, User

_ITEM = func.jsonb_build_object(
    *("product_id", OrderItem.product_id),
    *("sku", OrderItem.sku),
    *("name", OrderItem.name),
    *("quantity", OrderItem.quantity),
    *("price", func.jsonb_build_object("amount", OrderItem.price, "currency", Order.currency)),
)
# Read with the order by the same statement, so that a page of orders is one read as well.
_ITEMS = (
    select(func.jsonb_agg(aggregate_order_by(_ITEM, OrderItem.position), type_=JSONB))
    .where(OrderItem.order_id == Order.id)
    .correlate(Order)
    .scalar_subquery()
    .label("items")
)


class OrderCRUD(CRUDBase[Order]):
    def select(self, *where: ColumnElement[bool]) -> AnySelect:
        return super().select(*where).add_columns(_ITEMS)

    def of_patient(self, patient_id: int) -> Where:
        return (Order.patient_id == patient_id,)

    async def add_with_items(self, session: WriteSession, order: Order, items: Sequence[dict[str, Any]]) -> AnyRow:
        """The new order as it is read, its items in the order given."""
        await self.add(session, order)
        rows = [item | {"order_id": order.id, "position": position} for position, item in enumerate(items)]
        await session.execute(insert(OrderItem), rows)
        return await self.written(session, order.id)

    async def for_mail(self, read: ReadSession, order_id: int) -> AnyRow | None:
        """What a mail about the order says."""
        return await read.first(
            self.select(Order.id == order_id)
            .add_columns(User.email, User.full_name.label("patient_name"))
            .join(User, User.id == Order.patient_id)
        )


orders = OrderCRUD(Order)
