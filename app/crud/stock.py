"""Stock: taken and given back by one statement each, over rows locked in the order of their ids.

Every writer of several products locks them in that order, so that no two of them wait for each other in a ring.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ARRAY, BigInteger, bindparam, column, func, select, update

from app.core.database import AnyRow, WriteSession
from app.models import OrderItem, Product

# Made once: every order asks it.
_IDS = bindparam("ids", type_=ARRAY(BigInteger))
_WANTED = (
    func.unnest(_IDS, bindparam("quantities", type_=ARRAY(BigInteger)))
    .table_valued(column("product_id", BigInteger), column("quantity", BigInteger), name="wanted")
    .render_derived()
)
_ENOUGH = (Product.id == _WANTED.c.product_id, Product.stock >= _WANTED.c.quantity)
# What is short when the statement begins is not even locked: the losers of a rush do not queue behind the winners.
_FOR_SALE = (
    select(Product.id)
    .where(*_ENOUGH, Product.is_active, Product.deleted_at.is_(None))
    .order_by(Product.id)
    .with_for_update(key_share=True, of=Product)
    .cte("for_sale")
)
# And asked again of a row that a rival has changed while this statement waited for it.
_TAKE = (
    update(Product)
    .where(Product.id == _FOR_SALE.c.id, *_ENOUGH)
    .values(stock=Product.stock - _WANTED.c.quantity, version=Product.version + 1)
    .returning(Product.id, Product.sku, Product.name, Product.price, Product.currency)
)
_RETURNED = (
    select(OrderItem.product_id, func.sum(OrderItem.quantity).cast(BigInteger).label("quantity"))
    .where(OrderItem.order_id == func.any(_IDS))
    .group_by(OrderItem.product_id)
    .cte("returned")
)
_HELD = (
    select(Product.id)
    .where(Product.id.in_(select(_RETURNED.c.product_id)))
    .order_by(Product.id)
    .with_for_update(key_share=True)
    .cte("held")
)
_GIVE_BACK = (
    update(Product)
    .where(Product.id == _HELD.c.id, Product.id == _RETURNED.c.product_id)
    .values(stock=Product.stock + _RETURNED.c.quantity, version=Product.version + 1)
)


async def take(session: WriteSession, wanted: Mapping[int, int]) -> Sequence[AnyRow]:
    """Take so many pieces of each product; gives id, sku, name, price and currency of those that were there.

    A product that is missing from the answer is unknown, not for sale or short: the caller undoes the transaction.
    """
    ids = sorted(wanted)
    rows = await session.execute(_TAKE, {"ids": ids, "quantities": [wanted[id_] for id_ in ids]})
    return rows.all()


async def give_back(session: WriteSession, order_ids: Sequence[int]) -> None:
    """What these orders had taken can be ordered again. Deleted products get theirs, too: they may be looked at."""
    await session.execute(_GIVE_BACK, {"ids": list(order_ids)})


async def present(session: WriteSession, ids: Sequence[int]) -> Mapping[int, AnyRow]:
    """(id, is_active, stock) of those of the products that are there, by id."""
    statement = select(Product.id, Product.is_active, Product.stock).where(
        Product.id.in_(ids), Product.deleted_at.is_(None)
    )
    return {row.id: row for row in await session.execute(statement)}
