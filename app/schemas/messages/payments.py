"""What a job about a payment is told."""

from typing import ClassVar

from app.core.jobs import JobMessage, Retry

# About six hours: a provider that is away for an evening loses nobody's money.
PATIENT = Retry(max_attempts=40, base=5, cap=900)


class CancelPayment(JobMessage):
    """Nobody needs this payment any more: make it so at the provider, too."""

    name: ClassVar[str] = "payment.cancel"
    retry: ClassVar[Retry] = PATIENT
    payment_id: int


class RefundPayment(JobMessage):
    """Money came that no order waits for: give it back."""

    name: ClassVar[str] = "payment.refund"
    retry: ClassVar[Retry] = PATIENT
    payment_id: int
