"""Events of payments commute: whatever their order and however often they come, they end in the same state."""

from itertools import permutations, product

import pytest

from app.core.enums import OrderStatus, PaymentStatus
from app.schemas.payments import PaymentEventType
from app.services.payment_events import step

SUCCEEDED, FAILED, REFUNDED = PaymentEventType


def run(events: tuple[PaymentEventType, ...], payment: PaymentStatus, order: OrderStatus) -> tuple[str, str]:
    for event in events:
        if new := step(event, payment, order):
            payment, order = new.payment, new.order or order
    return payment.value, order.value


@pytest.mark.parametrize("order", OrderStatus)
@pytest.mark.parametrize("payment", PaymentStatus)
def test_events_commute(payment: PaymentStatus, order: OrderStatus) -> None:
    """For every set of events, any order of them and any repetition lead from one state to one and the same."""
    for size in (1, 2, 3):
        for chosen in permutations(PaymentEventType, size):
            expected = run(tuple(sorted(chosen)), payment, order)
            for shuffled in product(chosen, repeat=size + 1):
                if set(shuffled) == set(chosen):
                    assert run(shuffled, payment, order) == expected


@pytest.mark.parametrize(
    ("events", "payment", "order"),
    [
        ((SUCCEEDED,), "succeeded", "paid"),
        ((FAILED,), "failed", "pending_payment"),
        ((SUCCEEDED, FAILED), "succeeded", "paid"),
        ((FAILED, SUCCEEDED), "succeeded", "paid"),
        ((REFUNDED,), "refunded", "refunded"),
        ((REFUNDED, SUCCEEDED), "refunded", "refunded"),
        ((SUCCEEDED, REFUNDED), "refunded", "refunded"),
    ],
)
def test_the_last_word_of_an_open_order(events: tuple[PaymentEventType, ...], payment: str, order: str) -> None:
    """Refunded beats succeeded, and succeeded beats failed."""
    assert run(events, PaymentStatus.PENDING, OrderStatus.PENDING_PAYMENT) == (payment, order)


@pytest.mark.parametrize("order", [OrderStatus.CANCELLED, OrderStatus.PAID, OrderStatus.REFUNDED])
@pytest.mark.parametrize("payment", [PaymentStatus.PENDING, PaymentStatus.FAILED, PaymentStatus.CANCELLED])
def test_money_that_no_order_waits_for_is_surplus(payment: PaymentStatus, order: OrderStatus) -> None:
    """It never changes the order, neither when it comes nor when it goes back."""
    assert run((SUCCEEDED,), payment, order) == ("surplus", order.value)
    assert run((SUCCEEDED, REFUNDED), payment, order) == ("refunded", order.value)
