"""Paying an order: one payment at the provider, whoever asks and whatever dies in between."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.core.enums import OrderStatus
from app.schemas.messages.orders import OrderMail, SendOrderMail
from app.schemas.messages.payments import CancelPayment, RefundPayment
from app.schemas.payments import PaymentEvent
from app.services.payment_webhooks import apply_event
from tests.partners import Sandbox
from tests.support import API, Person, World, assert_problem, eventually, waiting_for_lock


async def placed(client: httpx.AsyncClient, world: World, who: Person, **product: Any) -> str:
    """The address of a new order of two pieces."""
    product_id = await world.product(**product)
    json = {"items": [{"product_id": product_id, "quantity": 2}]}
    answer = await client.post(f"{API}/orders", json=json, headers=who.headers)
    assert answer.status_code == 201
    return answer.headers["location"]


async def told(world: World, kind: str, payment_id: str, **changes: Any) -> str:
    """What came of an event of the provider about an order of two pieces at 2.50 EUR."""
    data = {"payment_id": payment_id, "order_id": 1, "amount": 500, "currency": "EUR"} | changes
    async with world.database.session_scope() as session:
        return await apply_event(session, event=PaymentEvent.model_validate({"type": f"payment.{kind}", "data": data}))


async def state(world: World) -> tuple[str, list[str], int]:
    """The order's status, its payments' and what is left in stock."""
    statuses = [row.status for row in await world.rows("SELECT status FROM payments ORDER BY id")]
    return await world.scalar("SELECT status FROM orders"), statuses, await world.scalar("SELECT stock FROM products")


async def test_the_same_payment_is_given_until_it_ends(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """200 with the provider's payment and its page; asked again the same, and the provider has but one."""
    person = await shop.person()
    place = await placed(client, shop, person)
    first, again = [await client.post(f"{place}/pay", headers=person.headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (200, again.json())
    (payment,) = sandbox.payments
    assert first.json().keys() == {"payment_id", "checkout_url"}
    assert first.json()["payment_id"] == payment["payment_id"]
    assert first.json()["checkout_url"] == f"{sandbox.url}/checkout/{payment['payment_id']}"
    assert (payment["order_id"], payment["amount"], payment["currency"]) == (1, 500, "EUR")
    assert (await client.get(place, headers=person.headers)).json()["status"] == "pending_payment"


async def test_many_at_once_get_one_payment(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """Twenty calls for one order all get the same payment, and the provider has but one."""
    person = await shop.person()
    place = await placed(client, shop, person)
    answers = await asyncio.gather(*(client.post(f"{place}/pay", headers=person.headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["payment_id"] for answer in answers}) == 1
    assert len(sandbox.payments) == await shop.count("payments") == 1


async def test_a_rival_in_an_open_transaction_is_waited_for(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """While somebody else claims the order, nobody else does; then the payment that was claimed is the one."""
    person = await shop.person()
    place = await placed(client, shop, person)
    async with shop.database.engine.begin() as rival:
        await rival.execute(text("SELECT 1 FROM orders WHERE id = 1 FOR NO KEY UPDATE"))
        second = asyncio.create_task(client.post(f"{place}/pay", headers=person.headers))
        await eventually(lambda: waiting_for_lock(shop), every=0.01)
        claim = "INSERT INTO payments (order_id, amount, currency) VALUES (1, 500, 'EUR') RETURNING key"
        key = (await rival.execute(text(claim))).scalar_one()
    assert (await second).status_code == 200
    assert [row.key for row in await shop.rows("SELECT key FROM payments")] == [key]
    assert len(sandbox.payments) == 1


async def test_the_database_itself_refuses_a_second_live_payment(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """Whatever code forgets to look or to lock: one that waits or is being made is the only one of its order."""
    person = await shop.person()
    await client.post(f"{await placed(client, shop, person)}/pay", headers=person.headers)
    values = "(order_id, amount, currency, status, provider_id) VALUES (1, 500, 'EUR', :status, :name)"
    for status, name in (("creating", None), ("pending", "pay_2")):
        with pytest.raises(IntegrityError, match="uq_payments_live"):
            await shop.execute(f"INSERT INTO payments {values}", status=status, name=name)
    await shop.execute(f"INSERT INTO payments {values}", status="failed", name="pay_3")


@pytest.mark.parametrize("fault", ["lost_answer", "reset", "garbage"])
async def test_a_crash_between_call_and_record_leaves_one_payment(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox, fault: str
) -> None:
    """The provider acts and its answer never arrives: 503, and the next call finds the payment that was made."""
    person = await shop.person()
    place = await placed(client, shop, person)
    sandbox.fault(fault, method="POST", times=3, seconds=0)
    lost = await client.post(f"{place}/pay", headers=person.headers)
    assert_problem(lost, 503, "unavailable")
    assert int(lost.headers["retry-after"]) >= 1
    assert len(sandbox.payments) == 1
    assert await state(shop) == ("pending_payment", ["creating"], 8)
    found = await client.post(f"{place}/pay", headers=person.headers)
    assert (found.status_code, found.json()["payment_id"]) == (200, sandbox.payments[0]["payment_id"])
    assert len(sandbox.payments) == await shop.count("payments") == 1


async def test_a_provider_that_is_away_loses_nothing(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """500 from the provider is our 503 with Retry-After and no word of it; afterwards the order can be paid."""
    person = await shop.person()
    place = await placed(client, shop, person)
    sandbox.fault("status", status=500, times=3)
    away = await client.post(f"{place}/pay", headers=person.headers)
    assert_problem(away, 503, "unavailable")
    assert "retry-after" in away.headers
    assert (await client.post(f"{place}/pay", headers=person.headers)).status_code == 200
    assert len(sandbox.payments) == 1


async def test_a_request_that_is_refused_starts_anew(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """A 4xx of the provider ends this attempt to pay: 503, and the next call makes another payment."""
    person = await shop.person()
    place = await placed(client, shop, person)
    sandbox.fault("status", status=400)
    assert_problem(await client.post(f"{place}/pay", headers=person.headers), 503, "unavailable")
    assert (await client.post(f"{place}/pay", headers=person.headers)).status_code == 200
    assert (await state(shop))[1] == ["failed", "pending"]


async def test_who_may_pay(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """Its owner alone: 404 for others, 403 for an admin who can see it, 401 for a stranger."""
    person, other, admin = await shop.person(), await shop.person(), await shop.admin()
    place = await placed(client, shop, person)
    assert_problem(await client.post(f"{place}/pay"), 401, "invalid_token")
    assert_problem(await client.post(f"{place}/pay", headers=other.headers), 404, "not_found")
    assert_problem(await client.post(f"{place}/pay", headers=admin.headers), 403, "forbidden")
    assert_problem(await client.post(f"{API}/orders/9/pay", headers=person.headers), 404, "not_found")
    assert sandbox.payments == []


@pytest.mark.parametrize("status", ["paid", "cancelled", "refunded"])
async def test_what_waits_for_no_payment(client: httpx.AsyncClient, shop: World, sandbox: Sandbox, status: str) -> None:
    """An order that is paid, cancelled or refunded, or whose time is over, is 409 invalid_transition."""
    person = await shop.person()
    place = await placed(client, shop, person)
    await shop.execute("UPDATE orders SET expires_at = now()")
    assert_problem(await client.post(f"{place}/pay", headers=person.headers), 409, "invalid_transition")
    paid = "now()" if status != "cancelled" else "NULL"
    await shop.execute(f"UPDATE orders SET status = :status, paid_at = {paid}", status=status)
    assert_problem(await client.post(f"{place}/pay", headers=person.headers), 409, "invalid_transition")
    assert sandbox.payments == []


async def test_an_order_is_paid_by_the_providers_word(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """`succeeded` makes it paid, once, with a mail; the stock stays sold, and cancelling is over."""
    person = await shop.person()
    place = await placed(client, shop, person)
    payment_id = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
    assert [await told(shop, "succeeded", payment_id) for _ in range(2)] == ["succeeded", "known"]
    assert await told(shop, "failed", payment_id) == "known"
    assert await state(shop) == ("paid", ["succeeded"], 8)
    assert await shop.scalar("SELECT paid_at > created_at FROM orders")
    assert_problem(await client.post(f"{place}/cancel", headers=person.headers), 409, "invalid_transition")
    await shop.assert_enqueued(SendOrderMail, kind=OrderMail.PAID)
    assert await told(shop, "refunded", payment_id) == "refunded"
    assert await state(shop) == ("refunded", ["refunded"], 8)
    await shop.run_jobs()
    assert {"Your order 1 is paid", "Your payment for order 1 is returned"} <= shop.mails().keys()


async def test_events_at_once_have_one_effect(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """Thirty events in parallel, all kinds mixed: the last word is the highest, one mail each, nothing done twice."""
    person = await shop.person()
    payment_id = (await client.post(f"{await placed(client, shop, person)}/pay", headers=person.headers)).json()[
        "payment_id"
    ]
    kinds = ["succeeded", "failed", "refunded"] * 10
    outcomes = await asyncio.gather(*(told(shop, kind, payment_id) for kind in kinds))
    assert outcomes.count("refunded") == 1
    assert outcomes.count("succeeded") <= 1
    assert await state(shop) == ("refunded", ["refunded"], 8)
    await shop.assert_enqueued(SendOrderMail, kind=OrderMail.REFUNDED)
    assert await shop.enqueued(RefundPayment) == []


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"amount": 499}, "mismatch"),
        ({"amount": 0}, "mismatch"),
        ({"currency": "USD"}, "mismatch"),
        ({"order_id": 2}, "mismatch"),
        ({"payment_id": "pay_of_somebody_else"}, "unknown"),
        ({"payment_id": "pay_of_somebody_else", "order_id": 99}, "unknown"),
    ],
)
async def test_what_fits_no_payment_pays_nothing(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox, changes: dict[str, Any], outcome: str
) -> None:
    """Another amount, currency, order or an unknown payment: nothing changes, whatever kind of event it is."""
    person = await shop.person()
    place = await placed(client, shop, person)
    payment_id = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
    for kind in ("succeeded", "failed", "refunded"):
        assert await told(shop, kind, **({"payment_id": payment_id} | changes)) == outcome
    assert await state(shop) == ("pending_payment", ["pending"], 8)


async def test_an_event_may_be_faster_than_the_record(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """The provider's word about a payment whose creation we have not recorded yet counts, if the amount is right."""
    person = await shop.person()
    place = await placed(client, shop, person)
    sandbox.fault("lost_answer", method="POST", times=3, seconds=0)
    assert (await client.post(f"{place}/pay", headers=person.headers)).status_code == 503
    payment_id = sandbox.payments[0]["payment_id"]
    assert await told(shop, "succeeded", payment_id, amount=1) == "mismatch"
    assert await told(shop, "succeeded", payment_id) == "succeeded"
    assert await state(shop) == ("paid", ["succeeded"], 8)
    assert_problem(await client.post(f"{place}/pay", headers=person.headers), 409, "invalid_transition")
    assert len(sandbox.payments) == 1


async def test_a_declined_payment_can_be_followed_by_another(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """After `failed` the order waits on, a second payment can be made, and money of both is not kept."""
    person = await shop.person()
    place = await placed(client, shop, person)
    first = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
    assert await told(shop, "failed", first) == "failed"
    second = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
    assert second != first
    # The decline was not the last word after all: the first one pays, the second must not any more.
    assert await told(shop, "succeeded", first) == "succeeded"
    assert await state(shop) == ("paid", ["succeeded", "cancelled"], 8)
    sandbox.checkout(second, "pay")
    assert await told(shop, "succeeded", second) == "surplus"
    await shop.run_jobs()
    assert [one["status"] for one in sandbox.payments] == ["refunded", "pending"]
    assert await state(shop) == ("paid", ["succeeded", "refunded"], 8)


@pytest.mark.parametrize("how", ["cancel", "expire"])
async def test_an_order_that_ends_takes_its_payment_along(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox, how: str
) -> None:
    """Cancelled or expired: nobody can pay it at the provider any more, and the stock is back."""
    person = await shop.person()
    place = await placed(client, shop, person)
    await client.post(f"{place}/pay", headers=person.headers)
    await end(client, shop, place, person, how)
    assert await state(shop) == ("cancelled", ["cancelled"], 10)
    assert_problem(await client.post(f"{place}/pay", headers=person.headers), 409, "invalid_transition")
    await shop.run_jobs()
    assert [one["status"] for one in sandbox.payments] == ["cancelled"]


async def test_a_payment_that_was_never_recorded_is_cancelled_too(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """An order that ends while nobody knows what became of the call: the job finds the payment and cancels it."""
    person = await shop.person()
    place = await placed(client, shop, person)
    sandbox.fault("lost_answer", method="POST", times=3, seconds=0)
    assert (await client.post(f"{place}/pay", headers=person.headers)).status_code == 503
    await end(client, shop, place, person, "cancel")
    await shop.run_jobs()
    assert [one["status"] for one in sandbox.payments] == ["cancelled"]
    assert await state(shop) == ("cancelled", ["cancelled"], 10)


@pytest.mark.parametrize("how", ["cancel", "expire"])
async def test_money_that_comes_too_late_goes_back(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox, how: str
) -> None:
    """Paid in the moment in which the order ended: refunded once at the provider, with a mail; the order stays so."""
    person = await shop.person()
    place = await placed(client, shop, person)
    payment_id = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
    sandbox.checkout(payment_id, "pay")
    await end(client, shop, place, person, how)
    assert [await told(shop, "succeeded", payment_id) for _ in range(2)] == ["surplus", "known"]
    assert len(await shop.enqueued(RefundPayment)) == 1
    sandbox.fault("lost_answer", method="POST", path="/v1/payments", times=3, seconds=0)
    await shop.run_jobs()
    await shop.execute("UPDATE jobs SET run_at = now() WHERE status = 'queued'")
    await shop.run_jobs()
    assert [(one["status"], one["refunded"]) for one in sandbox.payments] == [("refunded", 500)]
    assert await told(shop, "refunded", payment_id) == "known"
    assert await state(shop) == ("cancelled", ["refunded"], 10)
    await shop.assert_enqueued(SendOrderMail, kind=OrderMail.REFUNDED)
    assert "Your payment for order 1 is returned" in shop.mails()


async def test_cancel_expiry_and_payment_at_once(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """Whichever wins, the state is one that fits together: paid and sold, or cancelled, restocked and refunded."""
    person = await shop.person()
    for round_ in range(6):
        place = await placed(client, shop, person, sku=f"R-{round_}")
        order_id = int(place.rpartition("/")[2])
        payment_id = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
        sandbox.checkout(payment_id, "pay")
        await shop.execute("UPDATE orders SET expires_at = now() WHERE id = :id", id=order_id)

        async def expire(order_id: int = order_id) -> None:
            async with shop.database.session_scope() as session:
                await shop.container.orders.expire(session, order_id=order_id)

        await asyncio.gather(
            *(client.post(f"{place}/cancel", headers=person.headers) for _ in range(3)),
            expire(),
            *(told(shop, kind, payment_id, order_id=order_id) for kind in ("succeeded", "failed", "succeeded")),
            expire(),
        )
        await shop.run_jobs()
        row = (
            await shop.rows(
                "SELECT o.status, p.status AS payment, s.stock FROM orders o JOIN payments p ON p.order_id = o.id"
                " JOIN order_items i ON i.order_id = o.id JOIN products s ON s.id = i.product_id WHERE o.id = :id",
                id=order_id,
            )
        )[0]
        assert tuple(row) in {("paid", "succeeded", 8), ("cancelled", "refunded", 10)}
        assert sandbox.payments[0]["status"] == ("succeeded" if row.status == OrderStatus.PAID else "refunded")


async def end(client: httpx.AsyncClient, world: World, place: str, who: Person, how: str) -> None:
    if how == "cancel":
        assert (await client.post(f"{place}/cancel", headers=who.headers)).status_code == 200
        return
    await world.execute("UPDATE orders SET expires_at = now()")
    async with world.database.session_scope() as session:
        assert await world.container.orders.expire(session, order_id=1) == "cancelled"


async def test_cancelling_at_the_provider_waits_for_it(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """While the provider is away the job is repeated; what the provider can't cancel any more is left to its event."""
    person = await shop.person()
    place = await placed(client, shop, person)
    payment_id = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
    await end(client, shop, place, person, "cancel")
    sandbox.fault("status", status=503, times=3)
    await shop.run_jobs()
    job = "SELECT status, result FROM jobs WHERE name = :name"
    assert (await shop.rows(job, name=CancelPayment.name))[0].status == "queued"
    sandbox.checkout(payment_id, "pay")
    await shop.execute("UPDATE jobs SET run_at = now() WHERE status = 'queued'")
    await shop.run_jobs()
    row = (await shop.rows(job, name=CancelPayment.name))[0]
    assert row.status == "succeeded"
    assert "skipped" in row.result
