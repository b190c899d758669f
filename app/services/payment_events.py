"""What an event of the payment provider does to a payment and its order, in whichever order events arrive.

Refunded beats succeeded, succeeded beats failed and cancelled, these beat waiting: so the last word is the same however
the events are shuffled or repeated (decision 51).
"""

from dataclasses import dataclass

from app.core.enums import OrderStatus, PaymentStatus
from app.schemas.payments import PaymentEventType

_WAITING = frozenset({PaymentStatus.CREATING, PaymentStatus.PENDING})
_SETTLED = frozenset({PaymentStatus.SUCCEEDED, PaymentStatus.SURPLUS, PaymentStatus.REFUNDED})


@dataclass(frozen=True, slots=True)
class Step:
    """The states after an event; `order` is None when the order stays as it is."""

    payment: PaymentStatus
    order: OrderStatus | None = None


def step(event: PaymentEventType, payment: PaymentStatus, order: OrderStatus) -> Step | None:
    """What the event changes; None when it says nothing new."""
    pending = order is OrderStatus.PENDING_PAYMENT
    if event is PaymentEventType.SUCCEEDED and payment not in _SETTLED:
        return Step(PaymentStatus.SUCCEEDED, OrderStatus.PAID) if pending else Step(PaymentStatus.SURPLUS)
    if event is PaymentEventType.FAILED and payment in _WAITING:
        return Step(PaymentStatus.FAILED)
    if event is PaymentEventType.REFUNDED and payment is not PaymentStatus.REFUNDED:
        # Of a payment that came too late, or twice, the order knows nothing.
        its_own = payment is PaymentStatus.SUCCEEDED or (pending and payment is not PaymentStatus.SURPLUS)
        return Step(PaymentStatus.REFUNDED, OrderStatus.REFUNDED if its_own else None)
    return None
