"""Orders: what can be ordered, by whom, and what becomes of it."""

from typing import Any

import httpx
import pytest

from app.schemas.messages.orders import ExpireOrder, OrderMail, SendOrderMail
from tests.support import API, Person, World, assert_problem, clinic_time, next_weekday

FIELDS = {"id", "patient_id", "status", "total", "items", "appointment_id", "created_at"}


async def order(client: httpx.AsyncClient, who: Person, *lines: tuple[int, int], **fields: Any) -> httpx.Response:
    items = [{"product_id": product_id, "quantity": quantity} for product_id, quantity in lines]
    return await client.post(f"{API}/orders", json={"items": items} | fields, headers=who.headers)


async def stock(world: World) -> dict[int, int]:
    return {row.id: row.stock for row in await world.rows("SELECT id, stock FROM products")}


async def test_an_order_takes_price_and_stock(client: httpx.AsyncClient, world: World) -> None:
    """The contract's fields, the items in the order given, the total, and so much less in stock."""
    person = await world.person()
    first, second = await world.product(price=250, name="Plaster"), await world.product(price=1999, sku="B")
    placed = await order(client, person, (second, 2), (first, 3))
    assert placed.status_code == 201, placed.text
    body = placed.json()
    assert body.keys() == FIELDS
    assert (body["patient_id"], body["status"], body["appointment_id"]) == (person.id, "pending_payment", None)
    assert body["total"] == {"amount": 2 * 1999 + 3 * 250, "currency": "EUR"}
    assert [(item["product_id"], item["quantity"]) for item in body["items"]] == [(second, 2), (first, 3)]
    price = {"amount": 250, "currency": "EUR"}
    assert body["items"][1] | {"name": "Plaster", "price": price} == body["items"][1]
    assert body["items"][0]["sku"] == "B"
    assert body["created_at"].endswith("Z")
    assert await stock(world) == {first: 7, second: 8}
    read = await client.get(placed.headers["location"], headers=person.headers)
    assert (read.json(), read.headers["etag"]) == (body, placed.headers["etag"])
    listed = await client.get(f"{API}/orders", headers=person.headers)
    assert listed.json()["items"] == [body]
    assert (await client.get(f"{API}/products/{first}")).headers["etag"] == '"2"'


async def test_an_order_keeps_the_price_it_was_placed_at(client: httpx.AsyncClient, world: World) -> None:
    """Neither a new price nor a new name nor the product's deletion changes what was ordered."""
    admin, person, product_id = await world.admin(), await world.person(), await world.product()
    placed = await order(client, person, (product_id, 1))
    new = {"price": {"amount": 9999, "currency": "USD"}, "name": "Gold plaster"}
    url = f"{API}/products/{product_id}"
    assert (await client.patch(url, json=new, headers=admin.headers)).status_code == 200
    assert (await client.delete(url, headers=admin.headers)).status_code == 204
    assert (await client.get(placed.headers["location"], headers=person.headers)).json() == placed.json()


async def test_lines_of_one_product_are_added_up(client: httpx.AsyncClient, world: World) -> None:
    """Two lines are one item of their sum, and together they can't take more than there is."""
    person, product_id = await world.person(), await world.product(stock=5)
    assert_problem(await order(client, person, (product_id, 3), (product_id, 3)), 409, "out_of_stock")
    placed = await order(client, person, (product_id, 2), (product_id, 3))
    assert [item["quantity"] for item in placed.json()["items"]] == [5]
    assert await stock(world) == {product_id: 0}


async def test_what_is_short_is_not_sold_in_part(client: httpx.AsyncClient, world: World) -> None:
    """One product short: 409 out_of_stock that names it, and nothing of the others is taken either."""
    person = await world.person()
    plenty, short = await world.product(stock=100), await world.product(stock=1)
    refused = await order(client, person, (plenty, 1), (short, 2))
    assert f"product {short} (1 left)" in assert_problem(refused, 409, "out_of_stock")["detail"]
    assert await stock(world) == {plenty: 100, short: 1}
    assert await world.count("orders") == 0
    assert await world.count("jobs") == 0


async def test_what_can_not_be_ordered(client: httpx.AsyncClient, world: World) -> None:
    """An unknown or deleted product is 404; one not for sale, or of another currency, is 422 that says where."""
    person, good = await world.person(), await world.product()
    inactive, yen = await world.product(is_active=False), await world.product(currency="JPY")
    deleted = await world.product()
    await world.execute("UPDATE products SET deleted_at = now() WHERE id = :id", id=deleted)
    for gone in (999, deleted):
        assert_problem(await order(client, person, (good, 1), (gone, 1)), 404, "not_found")
    body = assert_problem(await order(client, person, (good, 1), (inactive, 1)), 422, "validation_error")
    assert body["errors"][0]["loc"] == ["body", "items", 1, "product_id"]
    body = assert_problem(await order(client, person, (good, 1), (yen, 1)), 422, "validation_error")
    assert body["errors"][0]["loc"] == ["body", "items"]
    assert await world.scalar("SELECT min(stock) FROM products") == 10


REFUSED: list[Any] = [
    {"items": []},
    {"items": None},
    {"items": {}},
    {"items": [{"product_id": 1, "quantity": 1}] * 101},
    {"appointment_id": 0},
    {"appointment_id": "1"},
    {"patient_id": 1},
    {"status": "paid"},
    {"total": {"amount": 1, "currency": "EUR"}},
]
BAD_LINES: list[Any] = [
    ("quantity", {"product_id": 1, "quantity": 0}),
    ("quantity", {"product_id": 1, "quantity": -1}),
    ("quantity", {"product_id": 1, "quantity": 1001}),
    ("quantity", {"product_id": 1, "quantity": 1.5}),
    ("quantity", {"product_id": 1, "quantity": "1"}),
    ("quantity", {"product_id": 1, "quantity": True}),
    ("quantity", {"product_id": 1}),
    ("product_id", {"quantity": 1}),
    ("product_id", {"product_id": 0, "quantity": 1}),
    ("product_id", {"product_id": 2**63, "quantity": 1}),
    ("price", {"product_id": 1, "quantity": 1, "price": {"amount": 1, "currency": "EUR"}}),
]


async def test_an_order_that_can_not_be(client: httpx.AsyncClient, world: World) -> None:
    """Malformed, out of range or with fields that nobody sets: 422 that names the field, and nothing is taken."""
    person = await world.person()
    await world.product()
    bad = [(["body", *fields], fields) for fields in REFUSED]
    bad += [(["body", "items", 0, where], {"items": [line]}) for where, line in BAD_LINES]
    for loc, fields in bad:
        json = {"items": [{"product_id": 1, "quantity": 1}]} | fields
        refused = await client.post(f"{API}/orders", json=json, headers=person.headers)
        assert assert_problem(refused, 422, "validation_error")["errors"][0]["loc"] == loc
    assert await world.count("orders") == 0


async def test_an_order_may_belong_to_ones_own_appointment(client: httpx.AsyncClient, world: World) -> None:
    """One's own appointment is kept with the order; another's and an unknown one are 404, even for an admin."""
    person, other, admin = await world.person(), await world.person(), await world.admin()
    product_id, doctor_id = await world.product(), await world.doctor()
    json = {"doctor_id": doctor_id, "starts_at": clinic_time(world.container, next_weekday(), "09:00")}
    booked = (await client.post(f"{API}/appointments", json=json, headers=person.headers)).json()["id"]
    placed = await order(client, person, (product_id, 1), appointment_id=booked)
    assert (placed.status_code, placed.json()["appointment_id"]) == (201, booked)
    for who, appointment_id in ((other, booked), (admin, booked), (person, 999)):
        refused = await order(client, who, (product_id, 1), appointment_id=appointment_id)
        assert_problem(refused, 404, "not_found")
    assert await stock(world) == {product_id: 9}


async def test_an_order_is_placed_once_under_its_key(client: httpx.AsyncClient, world: World) -> None:
    """Repeated under its key an order is answered byte for byte and takes nothing more; so is a refusal."""
    person, product_id = await world.person(), await world.product(stock=3)
    for key, quantity, status in (("a", 2, 201), ("b", 2, 409)):
        json = {"items": [{"product_id": product_id, "quantity": quantity}]}
        headers = person.headers | {"Idempotency-Key": key}
        first, again = [await client.post(f"{API}/orders", json=json, headers=headers) for _ in range(2)]
        assert (first.status_code, again.status_code, first.content) == (status, status, again.content)
        assert again.headers["idempotency-replayed"] == "true"
    assert await stock(world) == {product_id: 1}
    assert await world.count("orders") == 1


async def test_others_orders_are_not_there(client: httpx.AsyncClient, world: World) -> None:
    """Somebody else's order is 404 to read and to cancel, and not in the list; an admin sees and cancels them all."""
    person, other, admin = await world.person(), await world.person(), await world.admin()
    product_id = await world.product()
    place = (await order(client, person, (product_id, 1))).headers["location"]
    assert_problem(await client.get(place, headers=other.headers), 404, "not_found")
    assert_problem(await client.post(f"{place}/cancel", headers=other.headers), 404, "not_found")
    assert (await client.get(f"{API}/orders", headers=other.headers)).json()["items"] == []
    assert len((await client.get(f"{API}/orders", headers=admin.headers)).json()["items"]) == 1
    assert (await client.get(place, headers=admin.headers)).status_code == 200
    assert (await client.post(f"{place}/cancel", headers=admin.headers)).json()["status"] == "cancelled"


async def test_cancelling_gives_the_stock_back_once(client: httpx.AsyncClient, world: World) -> None:
    """All of it, by its owner, under the version that was seen; the second time it is 409 and gives nothing."""
    person = await world.person()
    first, second = await world.product(), await world.product()
    placed = await order(client, person, (first, 3), (second, 4))
    place = placed.headers["location"]
    stale = await client.post(f"{place}/cancel", headers=person.headers | {"If-Match": '"7"'})
    assert_problem(stale, 412, "precondition_failed")
    seen = person.headers | {"If-Match": placed.headers["etag"]}
    cancelled = await client.post(f"{place}/cancel", headers=seen)
    assert (cancelled.status_code, cancelled.json()) == (200, placed.json() | {"status": "cancelled"})
    assert cancelled.headers["etag"] != placed.headers["etag"]
    assert await stock(world) == {first: 10, second: 10}
    assert_problem(await client.post(f"{place}/cancel", headers=person.headers), 409, "invalid_transition")
    assert await stock(world) == {first: 10, second: 10}


@pytest.mark.parametrize("status", ["paid", "refunded"])
async def test_what_is_paid_is_not_cancelled(client: httpx.AsyncClient, world: World, status: str) -> None:
    """409 invalid_transition, for an admin too, and the stock stays sold."""
    person, admin, product_id = await world.person(), await world.admin(), await world.product()
    place = (await order(client, person, (product_id, 1))).headers["location"]
    await world.execute("UPDATE orders SET status = :status, paid_at = now()", status=status)
    for who in (person, admin):
        assert_problem(await client.post(f"{place}/cancel", headers=who.headers), 409, "invalid_transition")
    assert await stock(world) == {product_id: 9}


async def test_an_order_that_is_not_paid_in_time_is_cancelled(client: httpx.AsyncClient, world: World) -> None:
    """Not before its time is over; then by a job, once, with the stock given back and a mail that says why."""
    person, product_id = await world.person(), await world.product()
    placed = await order(client, person, (product_id, 2))
    order_id = placed.json()["id"]
    await world.assert_enqueued(ExpireOrder, order_id=order_id)
    due = "SELECT extract(epoch FROM j.run_at - o.created_at) FROM jobs j, orders o WHERE j.name = 'order.expire'"
    assert 1799 < await world.scalar(due) < 1801
    await world.run_jobs()
    assert await stock(world) == {product_id: 8}
    await world.execute("UPDATE jobs SET run_at = now() WHERE status = 'queued'")
    await world.run_jobs()
    assert await stock(world) == {product_id: 8}, "the time that counts is the order's"
    await world.execute("UPDATE orders SET expires_at = now()")
    await world.execute("UPDATE jobs SET status = 'queued' WHERE name = 'order.expire'")
    await world.run_jobs()
    assert await stock(world) == {product_id: 10}
    assert (await client.get(placed.headers["location"], headers=person.headers)).json()["status"] == "cancelled"
    await world.execute("UPDATE jobs SET status = 'queued' WHERE name = 'order.expire'")
    await world.run_jobs()
    assert await stock(world) == {product_id: 10}
    assert [mail.kind for mail in await world.enqueued(SendOrderMail)] == [OrderMail.PLACED, OrderMail.EXPIRED]


async def test_mails_say_what_became_of_an_order(client: httpx.AsyncClient, world: World) -> None:
    """Placed and cancelled: a mail each, with the items, the total in the currency's decimals and the time left."""
    person, product_id = await world.person(), await world.product(name="Plaster", price=1999)
    placed = await order(client, person, (product_id, 2))
    await client.post(f"{placed.headers['location']}/cancel", headers=person.headers)
    assert await world.run_jobs() == 2
    mails = world.mails()
    assert mails.keys() == {"Your order 1", "Your order 1 is cancelled"}
    for text in mails.values():
        assert "Items: 2 x Plaster (19.99 EUR each)" in text
        assert "Total: 39.98 EUR" in text
    assert "(Europe/Berlin)" in mails["Your order 1"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=cancelled", [1]),
        ("status__in=pending_payment,paid", [2, 3]),
        ("patient_id=2", [3]),
        ("created_at__gte=2027-01-01T00:00:00Z", [2]),
        ("created_at__lt=2027-01-01T00:00:00Z", [1, 3]),
        ("sort=-id", [3, 2, 1]),
        ("sort=-created_at&limit=1", [2]),
    ],
)
async def test_orders_are_filtered_and_sorted(
    client: httpx.AsyncClient, world: World, query: str, expected: list[int]
) -> None:
    """Each field and order gives an admin the orders it names."""
    first, second, admin = await world.person(), await world.person(), await world.admin()
    product_id = await world.product()
    for who in (first, first, second):
        await order(client, who, (product_id, 1))
    await world.execute("UPDATE orders SET status = 'cancelled' WHERE id = 1")
    await world.execute("UPDATE orders SET created_at = '2027-06-01T00:00:00Z' WHERE id = 2")
    listed = await client.get(f"{API}/orders?{query}", headers=admin.headers)
    assert [item["id"] for item in listed.json()["items"]] == expected, listed.text
    assert_problem(await client.get(f"{API}/orders?total=1", headers=admin.headers), 422, "validation_error")
