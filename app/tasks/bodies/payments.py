"""Bodies of the jobs about payments."""

from typing import Any

from app.schemas.messages.payments import CancelPayment, RefundPayment
from app.services.payments import PaymentService
from app.tasks.attempt import Attempt, Bodies


def payment_bodies(payments: PaymentService) -> Bodies:
    async def cancel(message: CancelPayment, _: Attempt) -> Any:
        return await payments.cancel(message)

    async def refund(message: RefundPayment, _: Attempt) -> Any:
        return await payments.refund(message)

    return {CancelPayment: cancel, RefundPayment: refund}
