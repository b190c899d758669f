"""The marketplace's products in our table, and the runs that bring them there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Text,
    case,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, WriteSession
from app.core.enums import OrderStatus, ProductSource
from app.crud.base import one_choice
from app.models import CatalogueRun, Order, OrderItem, Product

VENDOR = "marketplace"


@dataclass(frozen=True, slots=True)
class Listed:
    """One product as the marketplace lists it, its price in minor units."""

    sku: str
    name: str
    price: int
    currency: str
    stock: int


async def open_run(session: WriteSession, *, resumable_for: timedelta) -> AnyRow:
    """The run that is to be gone on with, or a new one when there is none, or none young enough."""
    stale = CatalogueRun.moved_at < func.now() - resumable_for
    await session.execute(delete(CatalogueRun).where(CatalogueRun.finished_at.is_(None), stale))
    await session.execute(insert(CatalogueRun).values(vendor=VENDOR).on_conflict_do_nothing())
    statement = select(CatalogueRun.__table__).where(CatalogueRun.finished_at.is_(None))
    row: AnyRow = (await session.execute(statement)).one()
    return row


async def drop_run(session: WriteSession, run_id: int) -> None:
    """The marketplace does not know its cursor any more: the next attempt starts anew."""
    await session.execute(delete(CatalogueRun).where(CatalogueRun.id == run_id))


async def advance(
    session: WriteSession, run: AnyRow, *, cursor: str, last: bool, counted: dict[str, int]
) -> AnyRow | None:
    """Note that a page is dealt with; None when another attempt has moved the run meanwhile."""
    values: dict[str, Any] = {name: getattr(CatalogueRun, name) + number for name, number in counted.items()}
    values |= {"cursor": cursor, "pages": CatalogueRun.pages + 1, "moved_at": func.now()}
    if last:
        values["read_at"] = func.now()
    statement = (
        update(CatalogueRun)
        .where(CatalogueRun.id == run.id, CatalogueRun.pages == run.pages, CatalogueRun.finished_at.is_(None))
        .values(values)
        .returning(*CatalogueRun.__table__.c)
    )
    return (await session.execute(statement)).first()


async def finish(session: WriteSession, run_id: int, *, withdrawn: int) -> AnyRow | None:
    statement = (
        update(CatalogueRun)
        .where(CatalogueRun.id == run_id, CatalogueRun.finished_at.is_(None))
        .values(finished_at=func.now(), withdrawn=withdrawn)
        .returning(*CatalogueRun.__table__.c)
    )
    return (await session.execute(statement)).first()


# What orders hold that may still be cancelled: the marketplace does not know of it. Of the row that is there already,
# named as text: SQLAlchemy correlates nothing with the target of an ON CONFLICT.
_HELD = (
    select(func.coalesce(func.sum(OrderItem.quantity), 0).cast(BigInteger))
    .join(Order, Order.id == OrderItem.order_id)
    .where(
        OrderItem.product_id == literal_column("products.id", BigInteger), Order.status == OrderStatus.PENDING_PAYMENT
    )
    .scalar_subquery()
)


async def upsert(session: WriteSession, items: Sequence[Listed], *, run_id: int) -> tuple[int, int]:
    """Bring a page into the table by one statement; how many products are new, and how many were there.

    Products of our own with the same SKU stay as they are. What the staff took off sale stays so; what a run had taken
    off comes back.
    """
    skus = [item.sku for item in items]
    # In the order of ids, like everybody who changes several products.
    await session.execute(
        select(Product.id)
        .where(Product.sku.in_(skus), Product.deleted_at.is_(None))
        .order_by(Product.id)
        .with_for_update(key_share=True)
    )
    columns = {"sku": Text, "name": Text, "price": BigInteger, "currency": Text, "stock": BigInteger}
    arrays = [literal([getattr(item, name) for item in items], ARRAY(kind())) for name, kind in columns.items()]
    listed = func.unnest(*arrays).table_valued(*columns, name="listed").render_derived()
    new = insert(Product).from_select(
        [*columns, "source", "synced_in"],
        select(*(listed.c[name] for name in columns), literal(ProductSource.MARKETPLACE.value), literal(run_id)),
    )
    stock = func.greatest(new.excluded.stock - _HELD, 0)
    is_active = or_(Product.is_active, Product.withdrawn_at.is_not(None))
    present = func.row(Product.name, Product.price, Product.currency, Product.stock, Product.is_active)
    wanted = func.row(new.excluded.name, new.excluded.price, new.excluded.currency, stock, is_active)
    differs = present.is_distinct_from(wanted)
    statement = new.on_conflict_do_update(
        index_elements=[Product.sku],
        index_where=Product.deleted_at.is_(None),
        set_={
            "name": new.excluded.name,
            "price": new.excluded.price,
            "currency": new.excluded.currency,
            "stock": stock,
            "is_active": is_active,
            "withdrawn_at": None,
            "synced_in": run_id,
            "version": Product.version + case((differs, 1), else_=0),
        },
        where=Product.source == ProductSource.MARKETPLACE,
    )
    # xmax is 0 in a row version that was inserted, and the updating transaction's id in one that replaces another.
    is_new = literal_column("products.xmax::text = '0'", Boolean)
    rows = [bool(one) for one in (await session.execute(statement.returning(is_new))).scalars()]
    return sum(rows), len(rows) - sum(rows)


async def withdraw(session: WriteSession, *, run_id: int, limit: int) -> int:
    """Take off sale what a complete run has not seen, at most `limit` products; how many there were."""
    gone = (
        select(Product.id)
        .where(
            Product.source == ProductSource.MARKETPLACE,
            Product.deleted_at.is_(None),
            Product.is_active,
            Product.synced_in.is_distinct_from(run_id),
        )
        .order_by(Product.id)
        .limit(limit)
        .with_for_update(key_share=True)
    )
    statement = (
        update(Product)
        .where(Product.id == one_choice(gone))
        .values(is_active=False, withdrawn_at=func.now(), version=Product.version + 1)
        .returning(Product.id)
    )
    return len((await session.execute(statement)).all())


async def prune_runs(session: WriteSession, *, kept: timedelta, limit: int) -> int:
    """Delete at most `limit` runs that were finished longer ago than `kept`; returns how many."""
    old = select(CatalogueRun.id).where(CatalogueRun.finished_at < func.now() - kept)
    statement = delete(CatalogueRun).where(CatalogueRun.id.in_(old.order_by(CatalogueRun.id).limit(limit)))
    return len((await session.execute(statement.returning(CatalogueRun.id))).all())
