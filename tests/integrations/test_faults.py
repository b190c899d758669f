"""The fault table: what the partner does, and what becomes of the effect, the circuit, memory and the caller's time.

Against the sandbox on a real socket. docs/integrations.md has the same table in words.
"""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.integrations.circuit_shared import Circuits
from app.integrations.deadline import within
from app.integrations.errors import CircuitOpen, Malformed, PartnerError, RateLimited, TimedOut, TooLarge, Unavailable
from app.integrations.marketplace import MarketplaceClient
from app.integrations.payments import Payment, PaymentsClient, PaymentStatus
from tests.partners import Sandbox, running_sandbox

QUICK = replace(PaymentsClient.policy, read=0.4, attempt=0.6, total=3, backoff=0.01, open_for=1.5)
# A caller's patience, and how much longer than it a call may take on a machine that is busy with other things.
PATIENCE, SLACK = 2.0, 2.0


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    server.reset()
    return server


@pytest.fixture
async def payments(sandbox: Sandbox) -> AsyncIterator[PaymentsClient]:
    client = PaymentsClient(sandbox.payments_settings, circuits=Circuits(None), policy=QUICK)
    yield client
    await client.close()


async def create(payments: PaymentsClient, key: str = "order-1") -> Payment:
    with within(PATIENCE):
        return await payments.create(order_id=1, amount=1250, currency="EUR", idempotency_key=key)


async def failure(payments: PaymentsClient, key: str) -> PartnerError:
    with pytest.raises(PartnerError) as ended:
        await create(payments, key)
    return ended.value


async def to(function: Any, *arguments: Any, **values: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **values)


FAULTS: dict[str, tuple[dict[str, Any], type[PartnerError]]] = {
    "lost-answer": ({"kind": "lost_answer"}, TimedOut),
    "error-500": ({"kind": "status", "status": 500}, Unavailable),
    "error-503": ({"kind": "status", "status": 503}, Unavailable),
    "too-many-without-retry-after": ({"kind": "status", "status": 429}, RateLimited),
    "too-many-with-retry-after": ({"kind": "status", "status": 429, "retry_after": "0.3"}, RateLimited),
    "reset-in-the-body": ({"kind": "reset"}, Unavailable),
    "garbage": ({"kind": "garbage"}, Malformed),
    "slow-drip": ({"kind": "drip"}, TimedOut),
    "latency": ({"kind": "latency", "seconds": 5}, TimedOut),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_fault_costs_nothing_but_time(fault: str, sandbox: Sandbox, payments: PaymentsClient) -> None:
    """The partner fails once, whether or not it has acted: the call succeeds, and there is one payment."""
    values, _ = FAULTS[fault]
    await to(sandbox.fault, **values)
    started = time.monotonic()
    payment = await create(payments)
    assert time.monotonic() - started < PATIENCE + SLACK
    assert [one["payment_id"] for one in await to(lambda: sandbox.payments)] == [payment.payment_id]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_stays_ends_in_its_error_and_in_time(
    fault: str, sandbox: Sandbox, payments: PaymentsClient
) -> None:
    """The caller gets the typed error within its deadline; the same key afterwards still means one payment."""
    values, kind = FAULTS[fault]
    await to(sandbox.fault, **values, times=None)
    started = time.monotonic()
    with pytest.raises(kind):
        await create(payments)
    assert time.monotonic() - started < PATIENCE + SLACK
    await to(sandbox._call, "DELETE", "/sandbox/faults")
    payment = await create(payments)
    assert [one["payment_id"] for one in await to(lambda: sandbox.payments)] == [payment.payment_id]


@pytest.mark.parametrize("fault", ["error-500", "lost-answer", "garbage", "reset-in-the-body"])
async def test_the_circuit_opens_and_closes(fault: str, sandbox: Sandbox, payments: PaymentsClient) -> None:
    """Faults that say the partner is ill stop the calls; when it is well, one call finds out and the rest follow."""
    values, _ = FAULTS[fault]
    await to(sandbox.fault, **values, times=None)
    failures = [await failure(payments, f"order-{number}") for number in range(10)]
    assert isinstance(failures[-1], CircuitOpen)
    asked = await to(lambda: sandbox.requests)
    started = time.monotonic()
    with pytest.raises(CircuitOpen):
        await create(payments)
    assert (await to(lambda: sandbox.requests), time.monotonic() - started < PATIENCE) == (asked, True)
    await to(sandbox._call, "DELETE", "/sandbox/faults")
    await asyncio.sleep(QUICK.open_for + 0.1)
    ended = await asyncio.gather(*(create(payments, f"later-{number}") for number in range(5)), return_exceptions=True)
    assert sum(isinstance(one, Payment) for one in ended) >= 1
    assert all(isinstance(one, Payment | CircuitOpen) for one in ended)
    assert isinstance(await create(payments), Payment)


async def test_a_gigabyte_is_not_swallowed(sandbox: Sandbox, payments: PaymentsClient) -> None:
    """Of an answer of 1 GB no more than the cap is ever in memory, and the call is not repeated."""
    await to(sandbox.fault, "huge")
    before = await to(lambda: sandbox.requests)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            await create(payments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < QUICK.max_bytes * 4
    assert await to(lambda: sandbox.requests) == before + 1
    assert (await create(payments)).payment_id == (await to(lambda: sandbox.payments))[0]["payment_id"]
    assert len(await to(lambda: sandbox.payments)) == 1


async def test_without_a_key_nothing_is_sent_twice(sandbox: Sandbox, payments: PaymentsClient) -> None:
    """An operation that names no key is asked for once, when nobody knows whether the partner has acted."""
    await to(sandbox.fault, "lost_answer", times=None)
    body = {"order_id": 1, "amount": 1, "currency": "EUR"}
    with pytest.raises(TimedOut) as ended:
        await payments.call("create", "POST", "/v1/payments", json=body, answer=Payment)
    assert ended.value.sent
    assert len(await to(lambda: sandbox.payments)) == 1


async def test_nobody_at_the_other_end(payments: PaymentsClient) -> None:
    """A port where nobody listens: Unavailable, certainly not acted on, at once."""
    settings = payments_at("http://127.0.0.1:9")
    client = PaymentsClient(settings, circuits=Circuits(None), policy=QUICK)
    with pytest.raises(Unavailable) as ended:
        await create(client)
    assert not ended.value.sent
    await client.close()


def payments_at(url: str) -> Any:
    from app.config import PaymentsSettings

    return PaymentsSettings(url=url)


async def test_a_payments_life(sandbox: Sandbox, payments: PaymentsClient) -> None:
    """Created, paid by a click, refunded in two parts; what is no longer possible is refused by a code."""
    payment = await create(payments)
    assert (payment.status, payment.amount, payment.currency) == (PaymentStatus.PENDING, 1250, "EUR")
    await to(sandbox.checkout, payment.payment_id, "pay")
    assert (await payments.get(payment.payment_id)).status is PaymentStatus.SUCCEEDED
    for key in ("a", "a", "b"):
        await payments.refund(payment.payment_id, amount=625, idempotency_key=f"refund-{key}")
    assert (await payments.get(payment.payment_id)).status is PaymentStatus.REFUNDED
    for refused in (
        payments.refund(payment.payment_id, amount=1, idempotency_key="refund-c"),
        payments.cancel(payment.payment_id, idempotency_key="cancel"),
    ):
        with pytest.raises(PartnerError) as ended:
            await refused
        assert getattr(ended.value, "partner_code", None) in {"not_refundable", "not_cancellable"}
    second = await create(payments, "order-2")
    assert (await payments.cancel(second.payment_id, idempotency_key="c")).status is PaymentStatus.CANCELLED


async def test_a_catalogue_survives_its_faults(sandbox: Sandbox) -> None:
    """Ten thousand products with a fault on every other page: each product once, one page in memory at a time."""
    client = MarketplaceClient(
        sandbox.marketplace_settings,
        circuits=Circuits(None),
        policy=replace(MarketplaceClient.policy, read=0.4, attempt=2, backoff=0.01, rate=None),
    )
    faults: list[dict[str, Any]] = [
        {"kind": "status", "status": 500},
        {"kind": "garbage"},
        {"kind": "reset"},
        {"kind": "status", "status": 429, "retry_after": "0.1"},
    ]
    seen: list[int] = []
    cursor = ""
    async for page in client.pages(limit=1000):
        seen += [item.product_id for item in page.items]
        cursor = cursor or page.cursor
        if faults:
            await to(sandbox.fault, **faults.pop())
    assert seen == list(range(1, 10_001))
    resumed = [item.product_id async for page in client.pages(cursor=cursor) for item in page.items]
    assert resumed == seen[1000:]
    await client.close()


@pytest.mark.parametrize(
    "change",
    [{"price": "a lot"}, {"price": "1.001"}, {"price": "-1"}, {"stock": -1}, {"offer_id": ""}, {"name": "\x00"}],
    ids=str,
)
async def test_a_product_that_makes_no_sense_is_malformed(change: dict[str, Any], sandbox: Sandbox) -> None:
    """Nothing of a page is taken when one of its products can't be what it says."""
    await to(sandbox.catalogue, size=3, set={"2": change})
    client = MarketplaceClient(sandbox.marketplace_settings, circuits=Circuits(None), policy=QUICK)
    with pytest.raises(Malformed):
        await client.page()
    await client.close()
    await to(sandbox.catalogue, size=10_000)
