"""Orders that run into each other."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from app.core.database import sqlstate
from app.crud import stock
from tests.support import API, World


async def test_two_hundred_rivals_for_ten_pieces(client: httpx.AsyncClient, world: World) -> None:
    """Exactly ten orders are placed, everyone else is told that there is no more, and nothing is left or owed."""
    people, product_id = [await world.person() for _ in range(20)], await world.product(stock=10)
    json = {"items": [{"product_id": product_id, "quantity": 1}]}

    async def place(index: int) -> int:
        # A machine that is busy may say 503; whoever is told so asks again.
        while (
            answer := await client.post(f"{API}/orders", json=json, headers=people[index % 20].headers)
        ).is_server_error:
            assert answer.status_code == 503
        return answer.status_code

    statuses = await asyncio.gather(*(place(index) for index in range(200)))
    assert sorted(statuses) == [201] * 10 + [409] * 190
    assert await world.scalar("SELECT stock FROM products") == 0
    assert await world.count("orders") == await world.count("order_items") == 10


@contextmanager
def failures(world: World) -> Iterator[list[str | None]]:
    """The SQLSTATE of each statement that PostgreSQL refuses to the service, those that it repeats by itself too."""
    found: list[str | None] = []

    def note(context: ExceptionContext) -> None:
        if isinstance(context.sqlalchemy_exception, DBAPIError):
            found.append(sqlstate(context.sqlalchemy_exception))

    engine = world.database.engine.sync_engine
    event.listen(engine, "handle_error", note)
    try:
        yield found
    finally:
        event.remove(engine, "handle_error", note)


async def test_baskets_in_any_order_end_without_deadlock(client: httpx.AsyncClient, world: World) -> None:
    """Baskets of the same products, named in opposite orders, wait for each other in line: all are served."""
    person = await world.person()
    ids = [await world.product(stock=1000) for _ in range(6)]

    async def place(index: int) -> int:
        order = ids[index % 6 :] + ids[: index % 6]
        items = [{"product_id": id_, "quantity": 1} for id_ in (order if index % 2 else order[::-1])]
        answer = await client.post(f"{API}/orders", json={"items": items}, headers=person.headers)
        if index % 3 == 0:
            await client.post(f"{answer.headers['location']}/cancel", headers=person.headers)
        return answer.status_code

    with failures(world) as failed:
        assert set(await asyncio.gather(*(place(index) for index in range(60)))) == {201}
    assert "40P01" not in failed
    left = [row.stock for row in await world.rows("SELECT stock FROM products")]
    assert left == [1000 - 40] * 6


async def test_stock_is_taken_in_the_order_of_ids(world: World) -> None:
    """Two transactions that want two products in opposite orders: the second waits at the first's first, in no ring."""
    first, second = await world.product(), await world.product()

    async def take(*ids: int) -> str | None:
        try:
            async with world.database.session_scope() as session:
                await stock.take(session, dict.fromkeys(ids, 1))
                await asyncio.sleep(0.05)
        except DBAPIError as error:
            return sqlstate(error)
        return None

    assert (
        await asyncio.gather(*(take(first, second) if n % 2 else take(second, first) for n in range(8))) == [None] * 8
    )
    assert await world.scalar("SELECT sum(stock) FROM products") == 4


async def test_cancellations_at_once_give_back_once(client: httpx.AsyncClient, world: World) -> None:
    """Of ten cancellations of one order by its owner and an admin one succeeds, and the stock comes back once."""
    person, admin, product_id = await world.person(), await world.admin(), await world.product(stock=5)
    json = {"items": [{"product_id": product_id, "quantity": 3}]}
    place = (await client.post(f"{API}/orders", json=json, headers=person.headers)).headers["location"]
    who = [person, admin] * 5
    answers = await asyncio.gather(*(client.post(f"{place}/cancel", headers=one.headers) for one in who))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert await world.scalar("SELECT stock FROM products") == 5
