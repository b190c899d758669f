"""Placing, cancelling and expiring orders."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.config import OrderSettings
from app.core.audit import audit
from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import OrderStatus
from app.core.errors import Invalid, InvalidTransition, NotFound, OutOfStock
from app.core.etag import check_if_match, version_tag
from app.core.events import record
from app.core.jobs import enqueue
from app.core.listing import Page, PageQuery
from app.crud import stock
from app.crud.appointments import appointments
from app.crud.base import Where
from app.crud.orders import orders
from app.models import Order
from app.schemas.events import CancelReason, OrderCancelled
from app.schemas.messages.orders import ExpireOrder, OrderMail, SendOrderMail
from app.schemas.money import Money
from app.schemas.orders import OrderCreate, OrderLine
from app.services.principal import Principal


@dataclass(frozen=True, slots=True)
class OrderService:
    settings: OrderSettings

    async def page(self, read: ReadSession, *, principal: Principal, query: PageQuery) -> Page:
        """One's own orders; all of them for an admin."""
        return await orders.page(read, query, where=visible(principal))

    async def get(self, read: ReadSession, *, principal: Principal, order_id: int) -> AnyRow:
        order = await orders.get(read, order_id, where=visible(principal))
        if order is None:
            raise NotFound
        return order

    async def place(self, session: WriteSession, *, principal: Principal, data: OrderCreate) -> AnyRow:
        """Take price and stock, and hold them until the order is paid or its time is over. OutOfStock when short."""
        if data.appointment_id is not None and not await appointments.is_of(
            session, data.appointment_id, patient_id=principal.id
        ):
            raise NotFound("There is no such appointment.")
        items = await self._take(session, data.items)
        currencies = {item.pop("currency") for item in items}
        if len(currencies) > 1:
            raise Invalid("must all have the same currency", loc=("body", "items"))
        order = Order(
            patient_id=principal.id,
            appointment_id=data.appointment_id,
            total_amount=sum(item["price"] * item["quantity"] for item in items),
            currency=currencies.pop(),
            expires_at=datetime.now(UTC) + self.settings.patience,
        )
        placed = await orders.add_with_items(session, order, items)
        await enqueue(session, SendOrderMail(order_id=order.id, kind=OrderMail.PLACED))
        await enqueue(session, ExpireOrder(order_id=order.id), run_at=order.expires_at)
        return placed

    async def cancel(
        self, session: WriteSession, *, principal: Principal, order_id: int, if_match: str | None
    ) -> AnyRow:
        """Give the stock back. InvalidTransition unless the order still waits for its payment."""
        order = await orders.lock(session, order_id, where=visible(principal))
        if order is None:
            raise NotFound
        check_if_match(if_match, version_tag(order.version))
        if order.status is not OrderStatus.PENDING_PAYMENT:
            raise InvalidTransition(f"The order is {order.status.value}.")
        await self._end(session, order, CancelReason.REQUESTED)
        if principal.id != order.patient_id:
            # What patients do with their own orders is no affair of the audit.
            whose = {"patient_id": order.patient_id}
            await audit(session, action="order.cancelled", object_type="order", object_id=order.id, changes=whose)
        return await orders.written(session, order.id)

    async def expire(self, session: WriteSession, *, order_id: int) -> str:
        """Cancel an order that was not paid in time; one that is paid, cancelled or given more time is left alone."""
        order = await orders.lock(session, order_id)
        if order is None or order.status is not OrderStatus.PENDING_PAYMENT or order.expires_at > datetime.now(UTC):
            return "nothing to do"
        await self._end(session, order, CancelReason.NOT_PAID_IN_TIME)
        return "cancelled"

    @staticmethod
    async def _end(session: WriteSession, order: Order, reason: CancelReason) -> None:
        # Under the order's lock and with its status: so the stock is given back once, whoever else ends it.
        await orders.patch(session, order, {"status": OrderStatus.CANCELLED})
        await stock.give_back(session, [order.id])
        total = Money(amount=order.total_amount, currency=order.currency)
        about = {"id": order.id, "patient_id": order.patient_id, "status": order.status, "total": total}
        record(session, OrderCancelled(**about, reason=reason))

    @staticmethod
    async def _take(session: WriteSession, lines: Sequence[OrderLine]) -> list[dict[str, Any]]:
        wanted: Counter[int] = Counter()
        for line in lines:
            wanted[line.product_id] += line.quantity
        taken = {row.id: row for row in await stock.take(session, wanted)}
        if missing := [id_ for id_ in wanted if id_ not in taken]:
            raise await _refusal(session, lines, missing)
        return [
            {
                "product_id": id_,
                "sku": taken[id_].sku,
                "name": taken[id_].name,
                "quantity": quantity,
                "price": taken[id_].price,
                "currency": taken[id_].currency,
            }
            for id_, quantity in wanted.items()
        ]


def visible(principal: Principal) -> Where:
    """An admin sees every order, others their own."""
    return () if principal.is_admin else orders.of_patient(principal.id)


async def _refusal(session: WriteSession, lines: Sequence[OrderLine], missing: Sequence[int]) -> Exception:
    """Why these products could not be had; the first that is plainly wrong, before what is merely short."""
    present = await stock.present(session, missing)
    for id_ in missing:
        if id_ not in present:
            return NotFound(f"There is no product {id_}.")
    for index, line in enumerate(lines):
        if line.product_id in present and not present[line.product_id].is_active:
            return Invalid("is not for sale", loc=("body", "items", index, "product_id"))
    said = ", ".join(f"product {id_} ({present[id_].stock} left)" for id_ in missing)
    return OutOfStock(f"There is not enough of {said}.")
