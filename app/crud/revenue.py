"""What the revenue report counts and lists: orders by when they were paid."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Date, cast, func, select, tuple_

from app.core.database import AnyRow, ReadSession
from app.models import Order


def _paid(start: datetime, end: datetime) -> tuple[ColumnElement[bool], ...]:
    return Order.paid_at.is_not(None), Order.paid_at >= start, Order.paid_at < end


async def order_sums(read: ReadSession, *, start: datetime, end: datetime, timezone: str) -> Sequence[AnyRow]:
    """(local day, currency, status, number, amount) of the orders that were paid in [start, end)."""
    day = cast(func.timezone(timezone, Order.paid_at), Date).label("day")
    columns = (day, Order.currency, Order.status, func.count(), func.sum(Order.total_amount))
    statement = select(*columns).where(*_paid(start, end)).group_by(day, Order.currency, Order.status)
    return await read.all(statement.order_by(day, Order.currency))


async def orders_in(
    read: ReadSession, *, start: datetime, end: datetime, after: tuple[datetime, int] | None, limit: int
) -> Sequence[AnyRow]:
    """(id, paid_at, status, currency, total_amount) of the next orders that were paid in [start, end), in the order of
    (paid_at, id)."""
    columns = (Order.id, Order.paid_at, Order.status, Order.currency, Order.total_amount)
    statement = select(*columns).where(*_paid(start, end))
    if after is not None:
        statement = statement.where(tuple_(Order.paid_at, Order.id) > tuple_(*after))
    return await read.all(statement.order_by(Order.paid_at, Order.id).limit(limit))
