"""The marketplace's catalogue in ours: complete, resumed where it stopped, and never taken for gone by half a run."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.core.jobs import JobMessage
from app.integrations.errors import Malformed, PartnerError
from app.schemas.messages.catalogue import SyncCatalogue
from app.services.catalogue import RunMoved
from tests.partners import Sandbox
from tests.support import API, World, assert_problem


class Watch:
    """The progress of a run; `then` happens after the page of that number."""

    def __init__(self, page: int = 0, then: Callable[[], Any] | None = None) -> None:
        self.seen: list[int] = []
        self._page, self._then = page, then

    async def __call__(self, done: int, total: int | None = None, note: str | None = None) -> None:
        assert total is not None
        self.seen.append(done)
        if self._then and note == f"page {self._page}":
            self._then()


async def sync(world: World, watch: Watch | None = None) -> dict[str, Any]:
    return await world.container.catalogue.sync(progress=watch or Watch())


async def products(world: World) -> dict[str, Any]:
    return {row.sku: row for row in await world.rows("SELECT * FROM products WHERE deleted_at IS NULL")}


async def test_ten_thousand_products_arrive_by_one_job(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """202 with the job, the same job while it waits; it says how far it is, and all products are for sale after it."""
    admin = await shop.admin()
    sandbox.catalogue(size=10_000)
    first, again = [await client.post(f"{API}/products/sync", headers=admin.headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["location"] == again.headers["location"] == f"{API}/jobs/{first.json()['id']}"
    assert await shop.run_jobs() == 1
    job = (await client.get(first.headers["location"], headers=admin.headers)).json()
    assert job["progress"] | {"done": 10_000, "total": 10_000} == job["progress"]
    assert job["result"] | {"pages": 20, "seen": 10_000, "added": 10_000, "withdrawn": 0} == job["result"]
    listed = (await client.get(f"{API}/products?source=marketplace&sku=MP-000007&count=true")).json()
    (item,) = listed["items"]
    price = {"amount": 199 + 7 * 7919 % 20_000, "currency": "EUR"}
    assert item | {"price": price, "stock": 7 * 31 % 90, "is_active": True, "source": "marketplace"} == item
    assert await shop.scalar("SELECT count(*) FROM products WHERE is_active") == 10_000


async def test_what_has_not_changed_keeps_its_version(shop: World, sandbox: Sandbox) -> None:
    """Synchronised again, only what the marketplace has changed gets a new version."""
    sandbox.catalogue(size=20)
    await sync(shop)
    sandbox.catalogue(set={7: {"price": "1.00"}, 8: {"stock": 1}, 9: {"name": "Other"}, 21: {}})
    result = await sync(shop)
    assert result | {"added": 1, "present": 20, "withdrawn": 0} == result
    changed = {row.sku for row in await shop.rows("SELECT sku FROM products WHERE version > 1")}
    assert changed == {"MP-000007", "MP-000008", "MP-000009"}
    assert (await products(shop))["MP-000007"].price == 100


@pytest.mark.parametrize("fault", ["status", "garbage", "reset"])
async def test_a_run_goes_on_where_it_stopped(shop: World, sandbox: Sandbox, fault: str) -> None:
    """The marketplace fails after the second page: nothing is withdrawn, and the next attempt begins with the third."""
    sandbox.catalogue(size=2000)
    await sync(shop)
    sandbox.catalogue(remove=[1, 1999])
    broken = Watch(2, lambda: sandbox.fault(fault, path="/v2", times=5))
    with pytest.raises(PartnerError):
        await sync(shop, broken)
    assert broken.seen == [500, 1000]
    assert await shop.scalar("SELECT count(*) FROM products WHERE is_active") == 2000
    before, resumed = sandbox.requests, Watch()
    result = await sync(shop, resumed)
    assert (resumed.seen, sandbox.requests - before) == ([1500, 1998], 2)
    assert result | {"pages": 4, "seen": 1998, "withdrawn": 2} == result
    gone = {sku for sku, row in (await products(shop)).items() if not row.is_active}
    assert gone == {"MP-000001", "MP-001999"}


async def test_a_job_outlives_a_marketplace_that_is_busy(shop: World, sandbox: Sandbox) -> None:
    """A failed attempt is repeated by the ledger, and the job succeeds in the end."""
    sandbox.catalogue(size=1000)
    admin = await shop.admin()
    async with shop.database.session_scope() as session:
        principal = await shop.container.auth.authenticate(
            shop.database.read, token=admin.headers["Authorization"].removeprefix("Bearer ")
        )
        job_id = await shop.container.catalogue.request(session, principal=principal)
    sandbox.fault("status", path="/v2", status=429, times=5)
    await shop.run_jobs()
    assert await shop.scalar("SELECT status FROM jobs WHERE id = :id", id=job_id) == "queued"
    await shop.execute("UPDATE jobs SET run_at = now()")
    await shop.run_jobs()
    assert await shop.scalar("SELECT status FROM jobs WHERE id = :id", id=job_id) == "succeeded"
    assert await shop.count("products") == 1000


async def test_a_run_that_stood_still_too_long_starts_anew(shop: World, sandbox: Sandbox) -> None:
    """What was seen more than an hour ago may have changed: the next run begins with the first page."""
    sandbox.catalogue(size=1000)
    with pytest.raises(PartnerError):
        await sync(shop, Watch(1, lambda: sandbox.fault("status", path="/v2", status=429, times=5)))
    await shop.execute("UPDATE catalogue_runs SET moved_at = now() - interval '61 minutes'")
    anew = Watch()
    await sync(shop, anew)
    assert anew.seen == [500, 1000]


async def test_a_cursor_that_is_refused_starts_a_new_run(shop: World, sandbox: Sandbox) -> None:
    """When the marketplace forgot its cursor, the attempt fails and the next one begins with the first page."""
    sandbox.catalogue(size=1000)
    with pytest.raises(PartnerError):
        await sync(shop, Watch(1, lambda: sandbox.fault("status", path="/v2", status=429, times=5)))
    sandbox.fault("status", path="/v2", status=400)
    with pytest.raises(PartnerError):
        await sync(shop)
    anew = Watch()
    await sync(shop, anew)
    assert anew.seen == [500, 1000]


async def test_two_runs_at_once_do_no_harm(shop: World, sandbox: Sandbox) -> None:
    """An attempt that another one has overtaken stops by itself; every product is there once and for sale."""
    sandbox.catalogue(size=2000)
    outcomes = await asyncio.gather(sync(shop), sync(shop), return_exceptions=True)
    assert any(isinstance(outcome, RunMoved) for outcome in outcomes)
    await sync(shop)
    assert await shop.scalar("SELECT count(*) FROM products WHERE is_active") == 2000
    assert await shop.scalar("SELECT count(*) FROM catalogue_runs WHERE finished_at IS NULL") == 0


async def test_what_the_marketplace_has_no_more_is_taken_off_sale(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """It becomes inactive, comes back with the marketplace's next word, and what the staff took off sale stays off."""
    admin = await shop.admin()
    sandbox.catalogue(size=5)
    await sync(shop)
    ids = {sku: row.id for sku, row in (await products(shop)).items()}
    by_staff = f"{API}/products/{ids['MP-000003']}"
    assert (await client.patch(by_staff, json={"is_active": False}, headers=admin.headers)).is_success
    sandbox.catalogue(remove=[2, 3], set={4: {"archived": True}})
    assert (await sync(shop))["withdrawn"] == 2
    assert {sku for sku, row in (await products(shop)).items() if row.is_active} == {"MP-000001", "MP-000005"}
    sandbox.catalogue(size=5)
    await sync(shop)
    assert {sku for sku, row in (await products(shop)).items() if not row.is_active} == {"MP-000003"}
    assert {sku: row.id for sku, row in (await products(shop)).items()} == ids


async def test_our_own_products_stay_ours(shop: World, sandbox: Sandbox) -> None:
    """A local product with the SKU of the marketplace's, and every other local one, is never touched."""
    sandbox.catalogue(size=3)
    await shop.product(sku="MP-000002", name="Ours", price=1, stock=7)
    await shop.product(sku="LOCAL")
    result = await sync(shop)
    assert result | {"seen": 3, "added": 2, "present": 0, "withdrawn": 0} == result
    found = await products(shop)
    assert (found["MP-000002"].name, found["MP-000002"].price, found["MP-000002"].stock) == ("Ours", 1, 7)
    assert all(row.is_active and row.version == 1 for row in found.values())


async def test_what_can_not_be_sold_is_left_out(shop: World, sandbox: Sandbox) -> None:
    """No price, a currency that nobody knows, more than our money can say: not in the shop, and the others are."""
    bad = {1: {"price": "0.00"}, 2: {"currency_code": "ABC"}, 3: {"price": "9999999999.00"}}
    good = {4: {"currency_code": "JPY", "price": "950.00"}, 5: {"currency_code": "KWD", "price": "1.250"}}
    sandbox.catalogue(size=5, set=bad | good)
    result = await sync(shop)
    assert result | {"seen": 5, "added": 2, "refused": 3} == result
    found = await products(shop)
    assert {sku: row.price for sku, row in found.items()} == {"MP-000004": 950, "MP-000005": 1250}


async def test_a_price_that_its_currency_can_not_say_stops_the_page(shop: World, sandbox: Sandbox) -> None:
    """Half a yen is no price that anybody could be charged: the page is malformed, by a reason that names the place."""
    sandbox.catalogue(size=3, set={2: {"currency_code": "JPY", "price": "9.50"}})
    with pytest.raises(Malformed, match=r"result\.items\.1: price_finer_than_its_currency"):
        await sync(shop)
    assert await shop.count("products") == 0


async def test_stock_that_orders_hold_is_not_sold_again(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """The marketplace's figure, less what unpaid orders hold; their cancellation gives back what it says."""
    person = await shop.person()
    sandbox.catalogue(size=1, set={1: {"stock": 10}})
    await sync(shop)
    product_id = (await products(shop))["MP-000001"].id
    json = {"items": [{"product_id": product_id, "quantity": 3}]}
    place = (await client.post(f"{API}/orders", json=json, headers=person.headers)).headers["location"]
    for figure, left in ((10, 7), (2, 0), (10, 7)):
        sandbox.catalogue(set={1: {"stock": figure}})
        await sync(shop)
        assert (await products(shop))["MP-000001"].stock == left
    await client.post(f"{place}/cancel", headers=person.headers)
    assert (await products(shop))["MP-000001"].stock == 10


async def test_orders_and_a_run_wait_for_each_other_in_line(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """Baskets of the very products that are being synchronised, in opposite orders: no deadlock, nothing oversold."""
    person = await shop.person()
    sandbox.catalogue(size=40, set={number: {"stock": 1000} for number in range(1, 41)})
    await sync(shop)
    ids = [row.id for row in (await products(shop)).values()]
    before = await shop.scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")

    async def place(index: int) -> int:
        chosen = ids[::-1] if index % 2 else ids
        items = [{"product_id": id_, "quantity": 1} for id_ in chosen]
        return (await client.post(f"{API}/orders", json={"items": items}, headers=person.headers)).status_code

    statuses = await asyncio.gather(*(place(index) for index in range(12)), *(_synced(shop) for _ in range(3)))
    assert set(statuses[:12]) == {201}
    await sync(shop)
    assert {row.stock for row in (await products(shop)).values()} == {1000 - 12}
    after = await shop.scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert after == before


async def _synced(world: World) -> int:
    try:
        await sync(world)
    except RunMoved:
        return 0
    return 1


async def test_the_staff_alone_synchronise(client: httpx.AsyncClient, shop: World) -> None:
    """403 for a client, 401 for a stranger, and no job."""
    person = await shop.person()
    assert_problem(await client.post(f"{API}/products/sync", headers=person.headers), 403, "forbidden")
    assert_problem(await client.post(f"{API}/products/sync"), 401, "invalid_token")
    for method in ("GET", "PATCH", "DELETE"):
        other = await client.request(method, f"{API}/products/sync", headers=person.headers)
        assert_problem(other, 405, "method_not_allowed")
        assert other.headers["allow"] == "POST"
    kind: type[JobMessage] = SyncCatalogue
    assert await shop.enqueued(kind) == []
