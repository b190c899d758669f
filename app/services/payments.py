"""Paying an order at the provider: one live payment an order, whoever asks and whatever dies in between.

Claim in a transaction, call the provider outside of any, record in a second one (decision 51). The call carries a key
of the payment's row: so repeating it is how a crash in between is repaired.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from app.core.database import AnyRow, Database, WriteSession
from app.core.enums import OrderStatus, PaymentStatus
from app.core.errors import Forbidden, InvalidTransition, NotFound
from app.core.jobs import JobFailed, enqueue
from app.core.logging import get_logger
from app.core.once import Once
from app.crud.orders import orders
from app.crud.payments import payments
from app.integrations.deadline import within
from app.integrations.errors import Rejected
from app.integrations.payments import Payment as AtProvider
from app.integrations.payments import PaymentsClient
from app.models import Payment
from app.schemas.messages.orders import OrderMail, SendOrderMail
from app.schemas.messages.payments import CancelPayment, RefundPayment
from app.schemas.payments import PaymentRead
from app.services.orders import visible
from app.services.principal import Principal

log = get_logger(__name__)
ANSWER_WITHIN = 8
"""Seconds that a customer waits for the provider, retries included; then 503, and asking again goes on from there."""


@dataclass(frozen=True, slots=True)
class PaymentService:
    database: Database
    provider: PaymentsClient
    return_url: str

    async def pay(self, *, principal: Principal, order_id: int, once: Once) -> PaymentRead:
        """The order's one live payment, made now if there is none. InvalidTransition unless the order waits for it."""
        async with self.database.session_scope() as session:
            await once.begin(session)
            claimed = await self._claim(session, principal, order_id)
            if (answer := _payable(claimed)) is not None:
                await once.end(session, answer)
        if answer is None:
            with within(ANSWER_WITHIN):
                answer = _payable(await self._make(claimed, once))
        if answer is None:
            # While the provider was asked, the order was cancelled or even paid.
            raise InvalidTransition("The order does not wait for a payment any more.")
        return answer

    async def cancel(self, message: CancelPayment) -> dict[str, str]:
        """Make a withdrawn payment impossible at the provider; one that was paid meanwhile comes back as an event."""
        payment = await self._job_row(message.payment_id)
        if payment.status is not PaymentStatus.CANCELLED:
            return {"skipped": f"the payment is {payment.status.value}"}
        try:
            # Nobody knows whether the provider has ever heard of it: asking again under its key tells.
            provider_id = payment.provider_id or (await self._make(payment)).provider_id
            await self.provider.cancel(str(provider_id), idempotency_key=f"{payment.key}-cancel")
        except Rejected as error:
            # It was paid meanwhile, or declined: what there is to do about it comes as an event.
            return {"skipped": str(error)}
        return {"cancelled": str(provider_id)}

    async def refund(self, message: RefundPayment) -> dict[str, str]:
        """Give a surplus payment back, once, and tell the customer."""
        payment = await self._job_row(message.payment_id)
        if payment.status is not PaymentStatus.SURPLUS:
            return {"skipped": f"the payment is {payment.status.value}"}
        provider_id = str(payment.provider_id)
        try:
            key = f"{payment.key}-refund"
            await self.provider.refund(provider_id, amount=payment.amount, idempotency_key=key)
        except Rejected as error:
            at_provider = await self.provider.get(provider_id)
            if at_provider.refunded < payment.amount:
                log.exception("a refund was refused", payment_id=payment.id)
                raise JobFailed(str(error)) from error
        async with self.database.session_scope() as session:
            await self.note_refund(session, payment_id=payment.id)
        return {"refunded": provider_id}

    async def note_refund(self, session: WriteSession, *, payment_id: int) -> None:
        """The money of a surplus payment is on its way back; its order knows nothing of it."""
        payment = await payments.lock(session, payment_id)
        if payment is not None and payment.status is PaymentStatus.SURPLUS:
            await payments.patch(session, payment, {"status": PaymentStatus.REFUNDED})
            await enqueue(session, SendOrderMail(order_id=payment.order_id, kind=OrderMail.REFUNDED))

    async def _claim(self, session: WriteSession, principal: Principal, order_id: int) -> Payment:
        # The order's lock makes rivals follow each other; the second finds what the first has made.
        order = await orders.lock(session, order_id, where=visible(principal))
        if order is None:
            raise NotFound
        if order.patient_id != principal.id:
            raise Forbidden("An order is paid by its owner.")
        if order.status is not OrderStatus.PENDING_PAYMENT:
            raise InvalidTransition(f"The order is {order.status.value}.")
        if order.expires_at <= datetime.now(UTC):
            raise InvalidTransition("The time to pay this order is over.")
        live = await payments.waiting_for(session, order.id)
        return live or await payments.add(
            session, Payment(order_id=order.id, amount=order.total_amount, currency=order.currency)
        )

    async def _make(self, claimed: Payment | AnyRow, once: Once | None = None) -> Payment:
        """The payment as the provider knows it: made there, or found there under its key."""
        try:
            made = await self.provider.create(
                order_id=claimed.order_id,
                amount=claimed.amount,
                currency=claimed.currency,
                idempotency_key=str(claimed.key),
                return_url=self.return_url,
            )
        except Rejected:
            # It refuses this very request for good: the next one starts anew, under another key.
            log.exception("the payment provider refuses to make a payment", payment_id=claimed.id)
            await self._record(claimed, None)
            raise
        return await self._record(claimed, made, once)

    async def _record(self, claimed: Payment | AnyRow, made: AtProvider | None, once: Once | None = None) -> Payment:
        async with self.database.session_scope() as session:
            await orders.lock(session, claimed.order_id)
            payment = await payments.lock(session, claimed.id)
            assert payment is not None  # noqa: S101 - payments are never deleted
            changes: dict[str, object] = {}
            if made is not None and payment.provider_id not in (None, made.payment_id):
                log.error("the payment provider has two payments under one key", payment_id=payment.id)
            elif made is not None:
                changes = {"provider_id": made.payment_id, "checkout_url": made.checkout_url}
            if payment.status is PaymentStatus.CREATING:
                changes["status"] = PaymentStatus.PENDING if made else PaymentStatus.FAILED
            recorded = await payments.patch(session, payment, changes)
            if once is not None and (answer := _payable(recorded)) is not None:
                await once.end(session, answer)
            return recorded

    async def _job_row(self, payment_id: int) -> AnyRow:
        payment = await payments.get(self.database.read, payment_id)
        if payment is None:
            raise JobFailed("the payment is gone")
        return payment


def _payable(payment: Payment) -> PaymentRead | None:
    """Where it is paid; None when it can't be, not yet or not any more."""
    if payment.status is not PaymentStatus.PENDING or not (payment.provider_id and payment.checkout_url):
        return None
    return PaymentRead(payment_id=payment.provider_id, checkout_url=payment.checkout_url)
