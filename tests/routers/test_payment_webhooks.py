"""The payment provider's webhooks, from its signature to the order."""

import asyncio
import random
from typing import Any

import httpx

from app.core.jobs import enqueue
from app.schemas.messages.catalogue import SyncCatalogue
from app.schemas.messages.orders import OrderMail, SendOrderMail
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies
from tests.partners import Sandbox
from tests.routers.test_payments import placed, state
from tests.support import API, World
from tests.webhooks import body, marketplace, marketplace_secret, payment, payments_secret

HOOK = f"{API}/webhooks/payments"


async def send(client: httpx.AsyncClient, world: World, event_id: str, kind: str, **data: Any) -> None:
    sent = body(f"payment.{kind}", **({"order_id": 1, "amount": 500, "currency": "EUR"} | data))
    headers = payment(event_id, payments_secret(world.container), sent)
    assert (await client.post(HOOK, content=sent, headers=headers)).status_code == 202


async def test_ten_of_each_shuffled_and_two_days_later(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """Each of three events ten times in parallel, shuffled, and again after two days with all of them replayed: one
    effect of each, and the same end."""
    person, admin = await shop.person(), await shop.admin()
    place = await placed(client, shop, person)
    payment_id = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
    events = [(f"evt_{kind}", kind) for kind in ("refunded", "failed", "succeeded")] * 10
    random.Random(5).shuffle(events)  # noqa: S311 - an order, not a secret
    await asyncio.gather(*(send(client, shop, id_, kind, payment_id=payment_id) for id_, kind in events))
    assert await shop.count("webhook_events") == 3
    await shop.run_jobs()
    end = await state(shop)
    assert end == ("refunded", ["refunded"], 8)
    await shop.execute("UPDATE webhook_events SET received_at = received_at - interval '2 days'")
    await asyncio.gather(*(send(client, shop, id_, kind, payment_id=payment_id) for id_, kind in events[:6]))
    for row in await shop.rows("SELECT id FROM webhook_events"):
        answer = await client.post(f"{API}/webhooks/events/{row.id}/replay", headers=admin.headers)
        assert answer.status_code == 202
    await shop.run_jobs()
    assert await state(shop) == end
    assert {row.status for row in await shop.rows("SELECT status FROM webhook_events")} == {"handled"}
    await shop.assert_enqueued(SendOrderMail, kind=OrderMail.REFUNDED)


async def test_an_event_that_fits_nothing_is_there_to_look_at(client: httpx.AsyncClient, shop: World) -> None:
    """An unknown payment and a body that makes no sense are failed with a reason, without another attempt."""
    await send(client, shop, "evt_1", "succeeded", payment_id="pay_unknown")
    await send(client, shop, "evt_2", "succeeded", payment_id="pay_1", amount="much")
    assert await shop.run_jobs() == 2
    rows = await shop.rows("SELECT status, error FROM webhook_events ORDER BY event_id")
    assert [row.status for row in rows] == ["failed", "failed"]
    assert rows[0].error == "it fits no payment of ours: unknown"
    assert rows[1].error.startswith("data.amount: ")


async def test_a_change_at_the_marketplace_has_the_catalogue_read(client: httpx.AsyncClient, shop: World) -> None:
    """However many products it names, one synchronisation is on its way."""
    for number in range(3):
        sent = body("product.updated", sku=f"sku-{number}")
        headers = marketplace(f"d-{number}", marketplace_secret(shop.container), sent)
        assert (await client.post(f"{API}/webhooks/marketplace", content=sent, headers=headers)).status_code == 202
    runner = Runner(shop.database, bodies(shop.container), shop.container.settings.jobs)
    for row in await shop.rows("SELECT id FROM jobs WHERE name = 'webhook.handle'"):
        await runner.run(row.id)
    await shop.assert_enqueued(SyncCatalogue)


async def test_a_change_while_the_catalogue_is_read_is_not_missed(client: httpx.AsyncClient, shop: World) -> None:
    """A synchronisation that has begun may have passed the product: one more follows it, and one is enough."""
    async with shop.database.session_scope() as session:
        await enqueue(session, SyncCatalogue())
    await shop.execute("UPDATE jobs SET status = 'running', attempt = 1, lease_token = gen_random_uuid()")
    for number in range(3):
        sent = body("product.stock_changed", sku="sku-1")
        headers = marketplace(f"d-{number}", marketplace_secret(shop.container), sent)
        assert (await client.post(f"{API}/webhooks/marketplace", content=sent, headers=headers)).status_code == 202
    runner = Runner(shop.database, bodies(shop.container), shop.container.settings.jobs)
    for row in await shop.rows("SELECT id FROM jobs WHERE name = 'webhook.handle'"):
        await runner.run(row.id)
    await shop.assert_enqueued(SyncCatalogue, again=False)
    await shop.assert_enqueued(SyncCatalogue, again=True)


async def test_an_account_that_is_gone_has_paid_all_the_same(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """The order of a deleted account stays, and becomes paid when its payment arrives."""
    person, admin = await shop.person(), await shop.admin()
    place = await placed(client, shop, person)
    payment_id = (await client.post(f"{place}/pay", headers=person.headers)).json()["payment_id"]
    assert (await client.delete(f"{API}/users/{person.id}", headers=admin.headers)).status_code == 204
    await send(client, shop, "evt_1", "succeeded", payment_id=payment_id)
    await shop.run_jobs()
    assert (await client.get(place, headers=admin.headers)).json()["status"] == "paid"
