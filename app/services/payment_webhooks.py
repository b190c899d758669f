"""What the provider tells us of payments, applied to ours: the one way in which an order becomes paid."""

from datetime import UTC, datetime

from app.core.database import WriteSession
from app.core.enums import OrderStatus, PaymentStatus
from app.core.events import record
from app.core.jobs import enqueue
from app.core.logging import get_logger
from app.core.metrics import PAYMENT_EVENTS
from app.crud.orders import orders
from app.crud.payments import payments
from app.models import Order, Payment
from app.schemas.events import OrderPaid
from app.schemas.messages.orders import OrderMail, SendOrderMail
from app.schemas.messages.payments import CancelPayment, RefundPayment
from app.schemas.money import Money
from app.schemas.payments import PaymentEvent, PaymentEventData, PaymentEventType
from app.services.payment_events import step

log = get_logger(__name__)
# From zero on: what Prometheus first sees at one has not risen, and each of these is somebody's money.
for _type in PaymentEventType:
    for _outcome in ("unknown", "mismatch"):
        PAYMENT_EVENTS.labels(_type.value, _outcome)


async def apply_event(session: WriteSession, *, event: PaymentEvent) -> str:
    """Bring a payment and its order to where this event and all before it lead, in whichever order they came.

    Gives what came of it, in a word. An event that fits no payment of ours changes nothing and is not worth repeating:
    it is logged as an error for people to look into.
    """
    outcome = await _apply(session, event)
    PAYMENT_EVENTS.labels(event.type.value, outcome).inc()
    if outcome in ("unknown", "mismatch"):
        log.error("a payment event fits no payment of ours", type=event.type.value, outcome=outcome, **dict(event.data))
    return outcome


async def _apply(session: WriteSession, event: PaymentEvent) -> str:
    found = await _locked(session, event.data)
    if found is None:
        return "unknown"
    order, payment = found
    told = (event.data.order_id, event.data.amount, event.data.currency)
    if told != (payment.order_id, payment.amount, payment.currency):
        return "mismatch"
    new = step(event.type, payment.status, order.status)
    if new is None:
        return "known"
    await payments.patch(session, payment, {"status": new.payment})
    if new.order is not None:
        await _move(session, order, new.order)
    if new.payment is PaymentStatus.SURPLUS:
        log.warning("a payment came that its order does not wait for", order_id=order.id, payment_id=payment.id)
        await enqueue(session, RefundPayment(payment_id=payment.id))
    if new.payment is PaymentStatus.REFUNDED:
        await enqueue(session, SendOrderMail(order_id=order.id, kind=OrderMail.REFUNDED))
    return new.payment.value


async def _locked(session: WriteSession, told: PaymentEventData) -> tuple[Order, Payment] | None:
    """The order first, then its payment: as everybody locks them."""
    named = await payments.named(session, told.payment_id)
    order = await orders.lock(session, named.order_id if named else told.order_id)
    if order is None:
        return None
    if named is not None:
        payment = await payments.lock(session, named.id)
    else:
        # The provider was faster than the record of its own answer: the live payment without a name is the one.
        payment = await payments.waiting_for(session, order.id)
        if payment is None or payment.provider_id is not None:
            return None
        if (payment.amount, payment.currency) == (told.amount, told.currency):
            await payments.patch(session, payment, {"provider_id": told.payment_id})
    return (order, payment) if payment is not None else None


async def _move(session: WriteSession, order: Order, status: OrderStatus) -> None:
    paid_at = order.paid_at or datetime.now(UTC)
    await orders.patch(session, order, {"status": status, "paid_at": paid_at})
    if status is OrderStatus.PAID:
        total = Money(amount=order.total_amount, currency=order.currency)
        record(session, OrderPaid(id=order.id, patient_id=order.patient_id, status=status, total=total))
        return
    # Refunded before we knew that it was paid: nothing else may be paid for it.
    for id_ in await payments.withdraw(session, order.id):
        await enqueue(session, CancelPayment(payment_id=id_))
