"""What follows from the end of an order's waiting: a mail, and that nobody pays it by another way."""

from collections.abc import Mapping

from app.core.database import WriteSession
from app.core.jobs import enqueue, enqueue_many
from app.crud.payments import payments
from app.schemas.events import CancelReason, OrderCancelled, OrderEvent, OrderPaid
from app.schemas.messages.orders import OrderMail, SendOrderMail
from app.schemas.messages.payments import CancelPayment

_CANCELLED: Mapping[CancelReason, OrderMail] = {
    CancelReason.REQUESTED: OrderMail.CANCELLED,
    CancelReason.NOT_PAID_IN_TIME: OrderMail.EXPIRED,
}


async def mail_buyer(session: WriteSession, event: OrderPaid | OrderCancelled) -> None:
    """Tell the patient what became of the order."""
    kind = _CANCELLED[event.reason] if isinstance(event, OrderCancelled) else OrderMail.PAID
    await enqueue(session, SendOrderMail(order_id=event.id, kind=kind))


async def withdraw_payments(session: WriteSession, event: OrderEvent) -> None:
    """Take back every way to pay it that is still open, here at once and at the provider by a job."""
    withdrawn = await payments.withdraw(session, event.id)
    await enqueue_many(session, [CancelPayment(payment_id=id_) for id_ in withdrawn])
