"""The commit comes before the answer, and a transaction that lost to a rival is tried again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from app.services.container import Container
from tests.support import API, Person, World, assert_problem, clinic_time, next_weekday


@asynccontextmanager
async def trigger(world: World, body: str, *, deferred: bool = False) -> AsyncIterator[None]:
    """Runs `body` (PL/pgSQL) for each inserted appointment while the block lasts; `attempts` is a sequence for it."""
    kind = "CONSTRAINT TRIGGER" if deferred else "TRIGGER"
    when = "DEFERRABLE INITIALLY DEFERRED" if deferred else ""
    await world.execute("CREATE SEQUENCE attempts")
    await world.execute(
        f"CREATE FUNCTION interfere() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$"
    )
    await world.execute(
        f"CREATE {kind} interfere AFTER INSERT ON appointments {when} FOR EACH ROW EXECUTE FUNCTION interfere()"
    )
    try:
        yield
    finally:
        await world.execute("DROP TRIGGER interfere ON appointments")
        await world.execute("DROP FUNCTION interfere()")
        await world.execute("DROP SEQUENCE attempts")


async def book(
    client: httpx.AsyncClient, container: Container, who: Person, doctor_id: int = 1, key: str | None = None
) -> httpx.Response:
    json = {"doctor_id": doctor_id, "starts_at": clinic_time(container, next_weekday(), "09:00")}
    headers = who.headers | ({"Idempotency-Key": key} if key else {})
    return await client.post(f"{API}/appointments", json=json, headers=headers)


async def test_a_commit_that_fails_is_never_a_success(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """A constraint that speaks up at the commit makes a 500 of the answer; there is no appointment and no mail."""
    patient, _ = await world.person(), await world.doctor()
    refuse = "RAISE EXCEPTION 'secret detail' USING ERRCODE = '23514';"
    async with trigger(world, refuse, deferred=True):
        response = await book(client, container, patient)
        assert_problem(response, 500, "internal_error")
        assert "secret" not in response.text
        assert await world.scalar("SELECT count(*) FROM appointments") == 0
        assert await world.scalar("SELECT count(*) FROM jobs") == 0
    assert (await book(client, container, patient)).status_code == 201


async def test_a_lost_transaction_is_tried_again(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Serialization failures and deadlocks, in a statement and at the commit, are retried until one attempt passes."""
    for number, (state, deferred) in enumerate((s, d) for s in ("40P01", "40001") for d in (False, True)):
        patient, doctor_id = await world.person(), await world.doctor()
        lose = f"IF nextval('attempts') <= 2 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '{state}'; END IF;"
        async with trigger(world, lose, deferred=deferred):
            response = await book(client, container, patient, doctor_id, key="k")
            assert response.status_code == 201, (state, deferred, response.text)
            assert await world.scalar("SELECT last_value FROM attempts") == 3
        assert await world.scalar("SELECT count(*) FROM appointments") == number + 1
        assert await world.scalar("SELECT count(*) FROM jobs") == number + 1
        again = await book(client, container, patient, doctor_id, key="k")
        assert (again.content, again.headers["idempotency-replayed"]) == (response.content, "true")


async def test_trying_again_has_an_end(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """A transaction that loses every time is given up after four attempts with 503 and Retry-After; nothing is kept."""
    patient, _ = await world.person(), await world.doctor()
    lose = "PERFORM nextval('attempts'); RAISE EXCEPTION 'lost' USING ERRCODE = '40001';"
    async with trigger(world, lose):
        response = await book(client, container, patient, key="k")
        assert_problem(response, 503, "unavailable")
        assert int(response.headers["retry-after"]) > 0
        assert await world.scalar("SELECT last_value FROM attempts") == 4
    assert await world.scalar("SELECT count(*) FROM appointments") == 0
    assert (await book(client, container, patient, key="k")).status_code == 201


async def test_two_that_block_each_other_both_succeed(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """A real deadlock: each holds its doctor and wants the other's; PostgreSQL ends one, which succeeds later."""
    people, doctors = [await world.person() for _ in range(2)], [await world.doctor() for _ in range(2)]
    cross = (
        # Both have come so far before either goes on.
        "IF nextval('attempts') <= 2 THEN"
        " WHILE (SELECT last_value FROM attempts) < 2 LOOP PERFORM pg_sleep(0.01); END LOOP; END IF;"
        " PERFORM 1 FROM doctors WHERE id = 3 - NEW.doctor_id FOR NO KEY UPDATE;"
    )
    async with trigger(world, cross):
        answers = await asyncio.gather(
            *(book(client, container, one, doctor) for one, doctor in zip(people, doctors, strict=True))
        )
        assert [answer.status_code for answer in answers] == [201, 201]
        assert await world.scalar("SELECT last_value FROM attempts") == 3
    assert await world.scalar("SELECT count(*) FROM appointments") == 2
