"""Ordering, and what becomes of an order."""

from typing import Annotated, Any

from fastapi import Depends, Response

from app.core.listing import PageQuery
from app.dependencies.access import OrdersReader, OrdersWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.idempotent_steps import InSteps, written
from app.dependencies.listing import page_query
from app.dependencies.resources import CursorsDep, Orders, Payments
from app.dependencies.session import IfMatch, IfNoneMatch, Read, Write
from app.routers.responses import PathId, conditional, created, paged, tagged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.orders import ORDERS, OrderCreate, OrderRead
from app.schemas.payments import PaymentRead

router = Router(prefix="/orders", tags=["shop"])


@router.get("", response_model=PageOut[OrderRead])
async def list_orders(
    query: Annotated[PageQuery, Depends(page_query(ORDERS))],
    principal: OrdersReader,
    orders: Orders,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Your own; all of them for an admin."""
    return paged(await orders.page(read, principal=principal, query=query), query, ORDERS, cursors)


@router.post(
    "",
    status_code=201,
    response_model=OrderRead,
    responses={404: {"description": "`not_found`: no such product, or no such appointment of your own"}},
)
async def place_order(
    data: OrderCreate,
    principal: OrdersWriter,
    _: Annotated[None, Idempotent],
    orders: Orders,
    session: Write,
    response: Response,
) -> Any:
    """Takes price and stock at once, and holds them for half an hour, until it is paid. `409 out_of_stock` when short,
    404 when a product or the appointment is not there, 422 when a product is not for sale."""
    return created(response, await orders.place(session, principal=principal, data=data), "orders")


@router.get("/{order_id}", response_model=OrderRead)
async def get_order(
    order_id: PathId,
    principal: OrdersReader,
    orders: Orders,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    return conditional(response, await orders.get(read, principal=principal, order_id=order_id), if_none_match)


@router.post("/{order_id}/cancel", response_model=OrderRead)
async def cancel_order(
    order_id: PathId,
    principal: OrdersWriter,
    orders: Orders,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Until it is paid; gives the stock back. `409 invalid_transition` otherwise."""
    cancelled = await orders.cancel(session, principal=principal, order_id=order_id, if_match=if_match)
    return tagged(response, cancelled)


@router.post("/{order_id}/pay", response_model=PaymentRead)
async def pay_order(order_id: PathId, principal: OrdersWriter, once: InSteps, payments: Payments) -> Any:
    """Your own. The order's one open payment: made now, or the one that is open already, so repeat it as you like.

    The order becomes `paid` when the payment provider says so. `409 invalid_transition` when it waits for no payment.
    """
    paid = await payments.pay(principal=principal, order_id=order_id, once=once)
    return Response(written(paid), media_type="application/json")
