"""Lists: limits, cursors, sorting and counting."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from app.models import Appointment
from tests.support import API, Person, World, assert_problem

NAMES = ["Anna", "Bert", "anna", "Éva", "Zoë", "Bert", "Bert", "Ünal", "李", "Anna"]
SPECIALTIES = ["Cardiology", "Surgery", "Cardiology"]
FIRST = datetime(2027, 1, 4, 8, tzinfo=UTC)


async def walk(
    client: httpx.AsyncClient, path: str, *, headers: dict[str, str] | None = None, **params: Any
) -> list[list[dict[str, Any]]]:
    """The pages of a list from the first to the one without a next."""
    pages, cursor = [], None
    while True:
        response = await client.get(
            API + path, params=params | ({"cursor": cursor} if cursor else {}), headers=headers or {}
        )
        assert response.status_code == 200, response.text
        body = response.json()
        assert body.keys() == {"items", "next_cursor"}
        pages.append(body["items"])
        cursor = body["next_cursor"]
        if cursor is None:
            return pages


@pytest.fixture
async def doctors(world: World) -> list[int]:
    return [
        await world.doctor(full_name=name, specialty=SPECIALTIES[number % 3]) for number, name in enumerate(NAMES * 2)
    ]


@pytest.mark.parametrize(
    "sort",
    [None, "id", "-id", "full_name", "-full_name", "specialty,-full_name", "-specialty,full_name", "specialty,-id"],
)
async def test_a_walk_gives_every_row_once(client: httpx.AsyncClient, doctors: list[int], sort: str | None) -> None:
    """Page by page, in any order and with ties, each doctor comes once, pages are full and in one order."""
    params: dict[str, Any] = {"sort": sort} if sort else {}
    (whole,) = await walk(client, "/doctors", limit=100, **params)
    assert sorted(item["id"] for item in whole) == doctors
    for limit in (1, 3, 10, 19, 20):
        pages = await walk(client, "/doctors", limit=limit, **params)
        assert all(len(page) == limit for page in pages[:-1])
        assert 0 < len(pages[-1]) <= limit
        assert [item for page in pages for item in page] == whole


@pytest.mark.parametrize(
    ("sort", "keys"),
    [
        ("-id", [("id", True)]),
        ("specialty,-id", [("specialty", False), ("id", True)]),
        ("-specialty,id", [("specialty", True), ("id", False)]),
    ],
)
async def test_the_order_is_the_one_asked_for(
    client: httpx.AsyncClient, doctors: list[int], sort: str, keys: list[tuple[str, bool]]
) -> None:
    """Ascending, descending and mixed: each row follows the one before it by the first field in which they differ."""
    (items,) = await walk(client, "/doctors", sort=sort, limit=100)
    for before, after in pairwise(items):
        field, descending = next((field, down) for field, down in keys if before[field] != after[field])
        assert (before[field] > after[field]) is descending


@pytest.mark.parametrize("sort", ["id", "-id", "full_name", "-full_name,id"])
async def test_rows_that_arrive_meanwhile_repeat_nothing(
    client: httpx.AsyncClient, world: World, doctors: list[int], sort: str
) -> None:
    """Rows that are inserted and deleted between two pages neither repeat nor hide one that was there all along."""
    seen: list[int] = []
    cursor = None
    gone = doctors[9]
    for page in range(100):
        params: dict[str, Any] = {"limit": 4, "sort": sort} | ({"cursor": cursor} if cursor else {})
        body = (await client.get(f"{API}/doctors", params=params)).json()
        seen += [item["id"] for item in body["items"]]
        cursor = body["next_cursor"]
        if cursor is None:
            break
        await world.doctor(full_name="AAA" if page % 2 else "李李", specialty="New")
        if page == 1:
            await world.execute("UPDATE doctors SET deleted_at = now() WHERE id = :id", id=gone)
        assert page < 40
    assert len(seen) == len(set(seen))
    assert set(doctors) - {gone} <= set(seen)


async def test_instants_that_tie_are_walked_too(client: httpx.AsyncClient, world: World) -> None:
    """A list sorted by a time that several rows share, to the microsecond, still gives every row once."""
    admin, rows = await world.admin(), []
    for number in range(12):
        start = FIRST + timedelta(microseconds=number // 4)
        doctor_id = await world.doctor()
        rows.append(
            {
                "doctor_id": doctor_id,
                "patient_id": admin.id,
                "starts_at": start,
                "ends_at": start + timedelta(minutes=30),
            }
        )
    async with world.database.session_scope() as session:
        await session.execute(insert(Appointment), rows)
    for sort in ("starts_at", "-starts_at", "-starts_at,id"):
        pages = await walk(client, "/appointments", headers=admin.headers, sort=sort, limit=3)
        ids = [item["id"] for page in pages for item in page]
        assert sorted(ids) == list(range(1, 13)), sort


async def test_users_are_walked_by_each_of_their_sorts(client: httpx.AsyncClient, world: World) -> None:
    """Every sort of the users' list walks through all of them."""
    admin = await world.admin()
    for number in range(7):
        await world.person(full_name=NAMES[number])
    for sort in ("id", "email", "-full_name", "created_at", "-created_at,email"):
        pages = await walk(client, "/users", headers=admin.headers, sort=sort, limit=2)
        assert sorted(item["id"] for page in pages for item in page) == list(range(1, 9)), sort


async def test_long_names_fit_into_a_cursor(client: httpx.AsyncClient, world: World) -> None:
    """The longest values that a sort may hold still make a cursor that the list takes back."""
    for number in range(3):
        await world.doctor(full_name="🩺" * 199 + str(number), specialty="\\" * 100 + "é" * 100)
    pages = await walk(client, "/doctors", sort="specialty,full_name", limit=1)
    assert [page[0]["id"] for page in pages] == [1, 2, 3]


async def test_total_is_given_only_when_asked_for(client: httpx.AsyncClient, doctors: list[int]) -> None:
    """`total` counts what the filters leave, on every page, and is absent without `count=true`."""
    first = (await client.get(f"{API}/doctors?count=true&limit=5&specialty=Cardiology")).json()
    expected = sum(1 for number in range(len(doctors)) if SPECIALTIES[number % 3] == "Cardiology")
    assert first["total"] == expected
    params: dict[str, Any] = {"limit": 5, "specialty": "Cardiology", "cursor": first["next_cursor"]}
    assert (await client.get(f"{API}/doctors", params=params | {"count": "true"})).json()["total"] == expected
    assert "total" not in (await client.get(f"{API}/doctors", params=params | {"count": "false"})).json()


async def test_twenty_rows_unless_told_otherwise(client: httpx.AsyncClient, world: World) -> None:
    """Without a limit a page has 20 rows; an empty list is a page without a next."""
    assert (await client.get(f"{API}/doctors")).json() == {"items": [], "next_cursor": None}
    for _ in range(21):
        await world.doctor()
    body = (await client.get(f"{API}/doctors")).json()
    assert len(body["items"]) == 20
    assert body["next_cursor"]


REFUSED: list[Any] = [
    "limit=0",
    "limit=101",
    "limit=-1",
    "limit=ten",
    "limit=" + "9" * 100,
    "limit=",
    "sort=",
    "sort=hours",
    "sort=created_at",
    "sort=--id",
    "sort=id,",
    "sort=version",
    "count=perhaps",
    "nonsense=1",
    "full_name__regex=x",
    "full_name__=x",
    "deleted_at__ne=x",
    "version=1",
    "slot_minutes=30",
    "is_active=maybe",
    "is_active__contains=true",
    "specialty=",
    "specialty=%00",
    "full_name__contains=a%00b",
    "cursor=AAAA",
    "cursor=%F0%9F%A9%BA",
    "cursor=" + "A" * 9000,
]


async def test_what_the_list_does_not_know_is_refused(client: httpx.AsyncClient) -> None:
    """Limits out of bounds, unknown fields, operators, sorts and values that can't be: 422 that names the parameter."""
    for query in REFUSED:
        body = assert_problem(await client.get(f"{API}/doctors?{query}"), 422, "validation_error")
        assert body["errors"][0]["loc"][0] == "query"


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/doctors", "limit=1&limit=2", "limit"),
        ("/doctors", "sort=id&sort=full_name", "sort"),
        ("/doctors", "cursor=&cursor=", "cursor"),
        ("/doctors", "count=true&limit=3&count=true", "count"),
        ("/doctors", "is_active=true&is_active=false", "is_active"),
        ("/doctors", "full_name__gte=A&full_name__gte=B", "full_name__gte"),
        ("/doctors/1/slots", "from=2027-01-04&from=2027-01-05&to=2027-01-06", "from"),
    ],
)
async def test_what_takes_one_value_is_given_once(client: httpx.AsyncClient, path: str, query: str, name: str) -> None:
    """A parameter that is given twice is refused by its name: neither value is silently left out."""
    body = assert_problem(await client.get(f"{API}{path}?{query}"), 422, "validation_error")
    assert body["errors"] == [{"loc": ["query", name], "msg": "is given more than once", "type": "repeated"}]


async def test_a_bad_sort_names_the_good_ones(client: httpx.AsyncClient) -> None:
    """Who sorts by what can't be sorted by is told the fields, not a regular expression."""
    body = assert_problem(await client.get(f"{API}/doctors?sort=hours"), 422, "validation_error")
    assert "id, full_name, specialty" in body["errors"][0]["msg"]
    assert "^" not in body["detail"]


async def test_a_cursor_works_only_as_it_was_given_out(client: httpx.AsyncClient, world: World) -> None:
    """Any character changed, dropped or added, another sort or another list: 422."""
    admin: Person = await world.admin()
    for _ in range(3):
        await world.doctor()
        await world.person()
    cursor = (await client.get(f"{API}/doctors?limit=1")).json()["next_cursor"]
    broken = {cursor[:-1], cursor + "A", cursor + "=", cursor + "!", "!" + cursor, cursor[1:], cursor[::-1]}
    for position in range(len(cursor)):
        broken |= {cursor[:position] + other + cursor[position + 1 :] for other in "Aq-" if other != cursor[position]}
    for one in sorted(broken):
        response = await client.get(f"{API}/doctors", params={"limit": 1, "cursor": one})
        assert response.status_code == 422, one
    other_sort = await client.get(f"{API}/doctors", params={"cursor": cursor, "sort": "-id"})
    assert "for this sort" in assert_problem(other_sort, 422, "validation_error")["errors"][0]["msg"]
    foreign = await client.get(f"{API}/users", params={"cursor": cursor}, headers=admin.headers)
    assert_problem(foreign, 422, "validation_error")
    assert (await client.get(f"{API}/doctors", params={"limit": 1, "cursor": cursor})).json()["items"][0]["id"] == 2
