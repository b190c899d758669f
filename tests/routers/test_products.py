"""Products: what anyone sees and the staff keep."""

from typing import Any

import httpx
import pytest

from app.config import Environment
from app.core.money import CURRENCIES, say_money
from app.services.seeding import seed
from tests.support import API, World, assert_problem

FIELDS = {"id", "sku", "name", "price", "stock", "source", "is_active"}
PRICE = {"amount": 1250, "currency": "EUR"}


async def test_an_admin_makes_a_product_that_anyone_sees(client: httpx.AsyncClient, world: World) -> None:
    """201 with place and tag; the product has the contract's fields, is local and can be read by a stranger."""
    admin = await world.admin()
    json = {"sku": " T-1 ", "name": " Thermometer 🌡 ", "price": PRICE, "stock": 3}
    made = await client.post(f"{API}/products", json=json, headers=admin.headers)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    body = made.json()
    assert made.headers["location"] == f"{API}/products/{body['id']}"
    assert body.keys() == FIELDS
    expected = {"sku": "T-1", "name": "Thermometer 🌡", "price": PRICE, "stock": 3, "source": "local", "is_active": True}
    assert body | expected == body
    read = await client.get(made.headers["location"])
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, body, '"1"')
    again = await client.get(made.headers["location"], headers={"If-None-Match": '"1"'})
    assert (again.status_code, again.content) == (304, b"")
    assert (await client.get(f"{API}/products")).json()["items"] == [body]


REFUSED: list[Any] = [
    {"sku": ""},
    {"sku": "x" * 65},
    {"sku": "a\0"},
    {"sku": None},
    {"name": " "},
    {"name": "x" * 201},
    {"stock": -1},
    {"stock": 10**9 + 1},
    {"stock": 1.5},
    {"stock": "3"},
    {"stock": None},
    {"is_active": 1},
    {"price": None},
    {"price": 1250},
    {"price": "12.50"},
    {"source": "marketplace"},
    {"id": 7},
    {"version": 7},
    {"synced_in": 1},
]
BAD_PRICES: list[Any] = [
    ("amount", {"amount": 0, "currency": "EUR"}),
    ("amount", {"amount": -1, "currency": "EUR"}),
    ("amount", {"amount": 12.5, "currency": "EUR"}),
    ("amount", {"amount": "12", "currency": "EUR"}),
    ("amount", {"amount": True, "currency": "EUR"}),
    ("amount", {"amount": 10**12, "currency": "EUR"}),
    ("amount", {"currency": "EUR"}),
    ("currency", {"amount": 1}),
    ("currency", {"amount": 1, "currency": "eur"}),
    ("currency", {"amount": 1, "currency": "EURO"}),
    ("currency", {"amount": 1, "currency": "ABC"}),
    ("tax", {"amount": 1, "currency": "EUR", "tax": 19}),
]


async def test_what_makes_no_product(client: httpx.AsyncClient, world: World) -> None:
    """Values out of bounds and fields that are not to be set: 422 that names the field, for POST and PATCH alike."""
    admin, product_id = await world.admin(), await world.product()
    bad = [(["body", *fields], fields) for fields in REFUSED]
    bad += [(["body", "price", where], {"price": price}) for where, price in BAD_PRICES]
    for loc, fields in bad:
        json = {"sku": "N-1", "name": "Nothing", "price": PRICE} | fields
        made = await client.post(f"{API}/products", json=json, headers=admin.headers)
        assert assert_problem(made, 422, "validation_error")["errors"][0]["loc"] == loc
        changed = await client.patch(f"{API}/products/{product_id}", json=fields, headers=admin.headers)
        assert assert_problem(changed, 422, "validation_error")["errors"][0]["loc"] == loc
    assert await world.scalar("SELECT count(*) FROM products WHERE version = 1") == 1


async def test_a_sku_has_one_product_that_lives(client: httpx.AsyncClient, world: World) -> None:
    """A taken SKU is 409 sku_taken for a new product and for a change; deletion makes it free."""
    admin = await world.admin()
    first, second = await world.product(sku="A"), await world.product(sku="B")
    json = {"sku": "A", "name": "Another", "price": PRICE}
    keyed = admin.headers | {"Idempotency-Key": "once"}
    for headers in (admin.headers, keyed, keyed):
        assert_problem(await client.post(f"{API}/products", json=json, headers=headers), 409, "sku_taken")
    renamed = await client.patch(f"{API}/products/{second}", json={"sku": "A"}, headers=admin.headers)
    assert_problem(renamed, 409, "sku_taken")
    assert (await client.delete(f"{API}/products/{first}", headers=admin.headers)).status_code == 204
    assert_problem(await client.get(f"{API}/products/{first}"), 404, "not_found")
    assert (await client.post(f"{API}/products", json=json, headers=admin.headers)).status_code == 201
    assert (await client.patch(f"{API}/products/{second}", json={"sku": "B"}, headers=admin.headers)).is_success


async def test_a_change_heeds_the_version_that_was_seen(client: httpx.AsyncClient, world: World) -> None:
    """A stale tag is 412 and changes nothing; price and stock change as given, and the tag with them."""
    admin, product_id = await world.admin(), await world.product()
    url, new = f"{API}/products/{product_id}", {"price": {"amount": 1, "currency": "JPY"}, "stock": 0}
    changed = await client.patch(url, json=new, headers=admin.headers | {"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json() | new == changed.json()
    same = await client.patch(url, json=new, headers=admin.headers)
    assert same.headers["etag"] == '"2"'
    for stale in (
        await client.patch(url, json={"stock": 9}, headers=admin.headers | {"If-Match": '"1"'}),
        await client.delete(url, headers=admin.headers | {"If-Match": '"1"'}),
    ):
        assert_problem(stale, 412, "precondition_failed")
    assert (await client.get(url)).json() == changed.json()


async def test_the_staff_alone_keep_products(client: httpx.AsyncClient, world: World) -> None:
    """A client gets 403 and a stranger 401, whatever the body says; what is not there is 404."""
    person, admin, product_id = await world.person(), await world.admin(), await world.product()
    for method, path in (("POST", ""), ("PATCH", f"/{product_id}"), ("DELETE", f"/{product_id}")):
        json: dict[str, Any] | None = {} if method != "DELETE" else None
        refused = await client.request(method, f"{API}/products{path}", json=json, headers=person.headers)
        assert_problem(refused, 403, "forbidden")
        assert_problem(await client.request(method, f"{API}/products{path}", json=json), 401, "invalid_token")
    for method in ("PATCH", "DELETE"):
        gone = await client.request(
            method, f"{API}/products/999", json={} if method == "PATCH" else None, headers=admin.headers
        )
        assert_problem(gone, 404, "not_found")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sku=B-1", [2]),
        ("sku__in=A-1,C-1", [1, 3]),
        ("sku__contains=-1", [1, 2, 3]),
        ("name__contains=tape", [1, 3]),
        ("price__gte=200&price__lt=300", [2]),
        ("currency=JPY", [3]),
        ("source=marketplace", [2]),
        ("source__ne=marketplace", [1, 3]),
        ("is_active=false", [3]),
        ("sort=-sku", [3, 2, 1]),
        ("sort=name", [1, 3, 2]),
    ],
)
async def test_products_are_filtered_and_sorted(
    client: httpx.AsyncClient, world: World, query: str, expected: list[int]
) -> None:
    """Each field and order gives the products it names."""
    await world.product(sku="A-1", name="Blue tape", price=100)
    await world.product(sku="B-1", name="Thermometer", price=200, source="marketplace")
    await world.product(sku="C-1", name="Red tape", price=300, currency="JPY", is_active=False)
    listed = await client.get(f"{API}/products?{query}")
    assert [item["id"] for item in listed.json()["items"]] == expected, listed.text
    assert_problem(await client.get(f"{API}/products?stock=1"), 422, "validation_error")
    assert_problem(await client.get(f"{API}/products?sort=price"), 422, "validation_error")


async def test_a_new_installation_has_something_to_sell(client: httpx.AsyncClient, world: World) -> None:
    """Seeding adds six products to an empty shop, once, and none in production."""
    container = world.container
    production = container.settings.model_copy(update={"environment": Environment.PRODUCTION})
    assert (await seed(container.settings, world.database, container.hasher)).products == 6
    assert (await seed(container.settings, world.database, container.hasher)).products == 0
    items = (await client.get(f"{API}/products")).json()["items"]
    assert len(items) == 6
    assert all(item["stock"] > 0 and item["is_active"] for item in items)
    await world.execute("DELETE FROM products")
    assert (await seed(production, world.database, container.hasher)).products == 0


def test_money_is_said_with_the_decimals_of_its_currency() -> None:
    """Two decimals for most, none for yen, three for dinars."""
    said = [say_money(*money) for money in ((1250, "EUR"), (5, "USD"), (1234567, "JPY"), (1001, "KWD"))]
    assert said == ["12.50 EUR", "0.05 USD", "1,234,567 JPY", "1.001 KWD"]
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)
