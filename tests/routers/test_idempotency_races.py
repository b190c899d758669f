"""`Idempotency-Key` under concurrency and when the commit fails."""

import asyncio

import httpx
from sqlalchemy import text

from app.services.container import Container
from tests.support import (
    API,
    Person,
    World,
    assert_problem,
    clinic_time,
    eventually,
    next_weekday,
    waiting_for_lock,
)


async def book(
    client: httpx.AsyncClient, container: Container, who: Person, key: str, clock: str = "09:00"
) -> httpx.Response:
    json = {"doctor_id": 1, "starts_at": clinic_time(container, next_weekday(), clock)}
    return await client.post(f"{API}/appointments", json=json, headers=who.headers | {"Idempotency-Key": key})


async def test_while_the_first_runs_the_second_is_told(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """With the first held at a lock its repeat is 409 idempotency_in_flight with Retry-After, later a replay."""
    patient, doctor_id = await world.person(), await world.doctor()
    async with world.database.engine.begin() as held:
        await held.execute(text("SELECT 1 FROM doctors WHERE id = :id FOR UPDATE"), {"id": doctor_id})
        first = asyncio.create_task(book(client, container, patient, "k"))
        await eventually(lambda: waiting_for_lock(world), seconds=1.5, every=0.01)
        repeat = await book(client, container, patient, "k")
        assert_problem(repeat, 409, "idempotency_in_flight")
        assert repeat.headers["retry-after"] == "1"
        assert_problem(await book(client, container, patient, "k", "11:00"), 409, "idempotency_in_flight")
        assert not first.done()
    done = await first
    assert done.status_code == 201
    again = await book(client, container, patient, "k")
    assert (again.status_code, again.content) == (201, done.content)
    assert await world.scalar("SELECT count(*) FROM appointments") == 1


async def test_fifty_at_once_under_one_key_have_one_effect(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """Each of fifty concurrent repeats gets the one answer or is told that it is on its way; one row, one mail."""
    patient, _ = await world.person(), await world.doctor()
    answers = await asyncio.gather(*(book(client, container, patient, "k") for _ in range(50)))
    made = [answer for answer in answers if answer.status_code == 201]
    assert made
    assert len({answer.content for answer in made}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1
    for answer in answers:
        if answer.status_code != 201:
            assert_problem(answer, 409, "idempotency_in_flight")
    assert await world.scalar("SELECT count(*) FROM appointments") == 1
    assert await world.scalar("SELECT count(*) FROM jobs") == 1


async def test_one_user_does_not_wait_for_the_key_of_another(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """The same key of twenty users at once makes twenty appointments."""
    await world.doctor()
    people = [await world.person() for _ in range(20)]
    clocks = [f"{8 + number // 2:02}:{number % 2 * 30:02}" for number in range(20)]
    answers = await asyncio.gather(
        *(book(client, container, one, "k", clock) for one, clock in zip(people, clocks, strict=True))
    )
    assert [answer.status_code for answer in answers] == [201] * 20


async def test_key_and_effect_are_one_transaction(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """When the commit fails neither appointment nor key nor mail is there, and the key serves the repeat."""
    patient, _ = await world.person(), await world.doctor()
    await world.execute("CREATE TABLE broken AS SELECT true AS broken")
    await world.execute(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT 1 FROM broken) THEN RAISE EXCEPTION 'refused at commit' USING ERRCODE = '23514'; END IF;"
        " RETURN NULL; END $$"
    )
    await world.execute(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON appointments DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        assert_problem(await book(client, container, patient, "k"), 500, "internal_error")
        for table in ("appointments", "idempotency_keys", "jobs"):
            assert await world.count(table) == 0
        await world.execute("DELETE FROM broken")
        repeated = await book(client, container, patient, "k")
        assert (repeated.status_code, "idempotency-replayed" in repeated.headers) == (201, False)
    finally:
        await world.execute("DROP TRIGGER refuse ON appointments")
        await world.execute("DROP FUNCTION refuse()")
        await world.execute("DROP TABLE broken")
