"""`Idempotency-Key` on paying: one answer over three transactions and a call in between, whatever dies."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from app.dependencies import idempotent_steps
from tests.partners import Sandbox
from tests.routers.test_payments import placed, state, told
from tests.support import API, Person, World, assert_problem, eventually


async def pay(
    client: httpx.AsyncClient, place: str, who: Person, key: str | None = "k", body: bytes = b""
) -> httpx.Response:
    headers = who.headers | ({"Idempotency-Key": key} if key is not None else {})
    return await client.post(f"{place}/pay", content=body, headers=headers)


async def reserved(world: World) -> bool:
    return bool(await world.scalar("SELECT count(*) FROM idempotency_keys WHERE leased_until > now()"))


async def test_the_first_answer_is_replayed(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """Byte for byte and marked, also when the payment has ended since; another key asks anew."""
    person = await shop.person()
    place = await placed(client, shop, person)
    first = await pay(client, place, person)
    assert (first.status_code, "idempotency-replayed" in first.headers) == (200, False)
    assert await told(shop, "failed", first.json()["payment_id"]) == "failed"
    again = await pay(client, place, person)
    assert (again.status_code, again.content) == (200, first.content)
    assert (again.headers["idempotency-replayed"], again.headers["content-type"]) == ("true", "application/json")
    assert len(sandbox.payments) == 1
    assert (await pay(client, place, person, "k2")).json()["payment_id"] != first.json()["payment_id"]
    plain = await pay(client, place, person, None)
    assert "idempotency-replayed" not in plain.headers


async def test_a_payment_that_is_there_already_is_an_answer_too(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox
) -> None:
    """Nobody has to be asked: answered and kept in one transaction, in the same words as without a key."""
    person = await shop.person()
    place = await placed(client, shop, person)
    plain = await pay(client, place, person, None)
    answers = [await pay(client, place, person) for _ in range(2)]
    assert [answer.content for answer in answers] == [plain.content] * 2
    assert ["idempotency-replayed" in answer.headers for answer in answers] == [False, True]
    assert await shop.scalar("SELECT status FROM idempotency_keys") == 200


async def test_while_the_provider_is_asked_the_second_is_told(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 idempotency_in_flight, 422 for another body, and no transaction is open; for as long as it takes, beyond the
    length of a lease."""
    monkeypatch.setattr(idempotent_steps, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(idempotent_steps, "RENEW_SECONDS", 0.2)
    person = await shop.person()
    place = await placed(client, shop, person)
    sandbox.fault("latency", seconds=3)
    first = asyncio.create_task(pay(client, place, person))
    await eventually(lambda: reserved(shop), every=0.01)
    await asyncio.sleep(1.2)
    assert_problem(await pay(client, place, person), 409, "idempotency_in_flight")
    assert_problem(await pay(client, place, person, body=b"{}"), 422, "idempotency_mismatch")
    assert not first.done()
    # The lease's renewals are short transactions of their own; one over the call would be as old as the call.
    old_ones = """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND xact_start < now() - interval '1 second'
    """
    assert await shop.scalar(old_ones) == 0
    done = await first
    assert done.status_code == 200
    assert (await pay(client, place, person)).content == done.content
    assert len(sandbox.payments) == 1


async def test_many_at_once_under_one_key(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """Each gets the one answer, or is told that it is on its way."""
    person = await shop.person()
    place = await placed(client, shop, person)
    answers = await asyncio.gather(*(pay(client, place, person) for _ in range(20)))
    paid = [answer for answer in answers if answer.status_code == 200]
    assert len({answer.content for answer in paid}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in paid) == 1
    for answer in answers:
        if answer.status_code != 200:
            assert_problem(answer, 409, "idempotency_in_flight")
    assert len(sandbox.payments) == 1


async def test_a_failure_leaves_the_key_free(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """After 404, 403 and 503 nothing is kept: the same key serves at once, and finds the payment that was made."""
    person, admin = await shop.person(), await shop.admin()
    assert_problem(await pay(client, f"{API}/orders/1", person), 404, "not_found")
    place = await placed(client, shop, person)
    assert_problem(await pay(client, place, admin), 403, "forbidden")
    sandbox.fault("lost_answer", method="POST", times=3, seconds=0)
    assert_problem(await pay(client, place, person), 503, "unavailable")
    assert await shop.count("idempotency_keys") == 0
    found = await pay(client, place, person)
    assert (found.status_code, found.json()["payment_id"]) == (200, sandbox.payments[0]["payment_id"])
    assert len(sandbox.payments) == 1


async def test_a_conflict_is_an_answer(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """409 is kept like a success, also when it is seen only after the provider was asked."""
    person = await shop.person()
    place = await placed(client, shop, person)
    sandbox.fault("latency", seconds=0.7)
    late = asyncio.create_task(pay(client, place, person, "late"))
    await eventually(lambda: reserved(shop), every=0.01)
    assert (await client.post(f"{place}/cancel", headers=person.headers)).status_code == 200
    answers = [await late, await pay(client, place, person, "late"), await pay(client, place, person, "k")]
    await shop.execute("UPDATE orders SET status = 'pending_payment', expires_at = now() + interval '1 hour'")
    answers.append(await pay(client, place, person, "k"))
    for answer in answers:
        assert_problem(answer, 409, "invalid_transition")
    assert ["idempotency-replayed" in answer.headers for answer in answers] == [False, True, False, True]
    assert (answers[1].content, answers[3].content) == (answers[0].content, answers[2].content)


async def test_a_request_that_died_is_gone_on_with(client: httpx.AsyncClient, shop: World, sandbox: Sandbox) -> None:
    """What a killed process leaves is a reservation and a payment without a name: until its lease ends the repeat is
    told to wait, then it finds the payment; another body is still refused."""
    person = await shop.person()
    place = await placed(client, shop, person)
    sandbox.fault("lost_answer", method="POST", times=3, seconds=0)
    assert (await pay(client, place, person, None)).status_code == 503
    assert (await state(shop))[1] == ["creating"]
    await shop.execute(
        "INSERT INTO idempotency_keys (owner, route, key, request_hash, leased_until)"
        " VALUES (:owner, :route, 'k', :hash, now() + interval '1 minute')",
        owner=f"user:{person.id}",
        route=f"POST {place}/pay",
        hash=shop.container.auth.opaque_tokens.sign("idempotent-request", b""),
    )
    assert_problem(await pay(client, place, person), 409, "idempotency_in_flight")
    await shop.execute("UPDATE idempotency_keys SET leased_until = now()")
    assert_problem(await pay(client, place, person, body=b"{}"), 422, "idempotency_mismatch")
    found = await pay(client, place, person)
    assert (found.status_code, found.json()["payment_id"]) == (200, sandbox.payments[0]["payment_id"])
    assert (await pay(client, place, person)).headers["idempotency-replayed"] == "true"
    assert len(sandbox.payments) == await shop.count("payments") == 1


@pytest.mark.parametrize("table", ["payments", "idempotency_keys"])
async def test_key_and_record_are_one_transaction(
    client: httpx.AsyncClient, shop: World, sandbox: Sandbox, table: str
) -> None:
    """When either can't be written, neither the payment's name nor the answer is there, and the repeat gives the one
    that the provider has made."""
    person = await shop.person()
    place = await placed(client, shop, person)
    await shop.execute(
        "CREATE OR REPLACE FUNCTION refuse_payment() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'refused at commit' USING ERRCODE = '23514'; END $$"
    )
    await shop.execute(
        f"CREATE CONSTRAINT TRIGGER refuse_payment AFTER UPDATE ON {table} DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse_payment()"
    )
    try:
        assert_problem(await pay(client, place, person), 500, "internal_error")
    finally:
        await shop.execute("DROP FUNCTION refuse_payment() CASCADE")
    assert await shop.count("idempotency_keys") == 0
    assert (await state(shop))[1] == ["creating"]
    repeated = await pay(client, place, person)
    assert (repeated.status_code, "idempotency-replayed" in repeated.headers) == (200, False)
    assert [one["payment_id"] for one in sandbox.payments] == [repeated.json()["payment_id"]]


def test_a_lease_is_renewed_well_before_its_end() -> None:
    """A renewal may be late by as much as it takes the database to fail once."""
    assert timedelta(seconds=idempotent_steps.RENEW_SECONDS) * 2 < timedelta(seconds=idempotent_steps.LEASE_SECONDS)
