"""Webhooks from partners."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.jobs import enqueue
from app.schemas.messages.housekeeping import Prune, Pruned
from app.schemas.messages.webhooks import HandleWebhook
from tests.support import API, World, assert_problem
from tests.webhooks import body, marketplace, marketplace_secret, payment, payments_secret

PAYMENTS, MARKETPLACE, EVENTS = f"{API}/webhooks/payments", f"{API}/webhooks/marketplace", f"{API}/webhooks/events"


async def test_a_webhook_is_stored_with_its_job_before_the_answer(client: httpx.AsyncClient, world: World) -> None:
    """202 means that event and job are committed, with the bytes as they came and without the signature."""
    sent = b'{ "type" : "door.opened", "data": {"n": 1} }'
    headers = payment("msg_1", payments_secret(world.container), sent) | {"X-Request-ID": "of the partner"}
    response = await client.post(PAYMENTS, content=sent, headers=headers)
    assert (response.status_code, response.json()) == (202, {"event_id": "msg_1"})
    [row] = await world.rows("SELECT * FROM webhook_events")
    assert (row.provider, row.event_id, row.type, row.body, row.status) == (
        "payments",
        "msg_1",
        "door.opened",
        sent,
        "received",
    )
    assert "signature" not in json.dumps(row.headers)
    [job] = await world.rows("SELECT * FROM jobs")
    assert (job.id, job.payload, job.request_id) == (row.job_id, {"event_id": row.id}, "of the partner")


async def test_github_s_way_for_the_marketplace(client: httpx.AsyncClient, world: World) -> None:
    """The marketplace signs by X-Hub-Signature-256 and names its event by X-Delivery-ID."""
    sent = body("product.updated")
    headers = marketplace("d-1", marketplace_secret(world.container), sent)
    assert (await client.post(MARKETPLACE, content=sent, headers=headers)).status_code == 202
    assert_problem(await client.post(MARKETPLACE, content=sent + b" ", headers=headers), 401, "invalid_signature")
    del headers["X-Delivery-ID"]
    assert_problem(await client.post(MARKETPLACE, content=sent, headers=headers), 422, "validation_error")
    assert await world.count("webhook_events") == 1


async def test_ten_at_once_are_one_event(client: httpx.AsyncClient, world: World) -> None:
    """One event sent ten times in parallel, and again two days later, is stored once and has one job."""
    sent = body()
    headers = payment("msg_1", payments_secret(world.container), sent)
    answers = await asyncio.gather(*(client.post(PAYMENTS, content=sent, headers=headers) for _ in range(10)))
    await world.execute("UPDATE webhook_events SET received_at = now() - interval '2 days'")
    fresh = payment("msg_1", payments_secret(world.container), sent)
    answers.append(await client.post(PAYMENTS, content=sent, headers=fresh))
    assert {answer.status_code for answer in answers} == {202}
    assert (await world.count("webhook_events"), await world.count("jobs")) == (1, 1)


async def test_one_id_of_two_partners_is_two_events(client: httpx.AsyncClient, world: World) -> None:
    """What one partner calls its event says nothing about another's."""
    sent = body()
    first = payment("same", payments_secret(world.container), sent)
    second = marketplace("same", marketplace_secret(world.container), sent)
    assert (await client.post(PAYMENTS, content=sent, headers=first)).status_code == 202
    assert (await client.post(MARKETPLACE, content=sent, headers=second)).status_code == 202
    assert await world.count("webhook_events") == 2


async def test_what_is_not_signed_is_not_stored(client: httpx.AsyncClient, world: World) -> None:
    """No signature, another body's, another secret's, one of an hour ago: 401 invalid_signature, and no trace."""
    sent, secret = body(), payments_secret(world.container)
    other = payment("msg_1", "whsec_" + "A" * 32, sent)
    for headers in ({}, payment("msg_1", secret, b"{}"), other, payment("msg_1", secret, sent, at=0)):
        assert_problem(await client.post(PAYMENTS, content=sent, headers=headers), 401, "invalid_signature")
    assert await world.count("webhook_events") == 0


async def test_an_unknown_partner_is_not_found(client: httpx.AsyncClient) -> None:
    """404 for a provider that there is none of, and 405 for a method that the address has none of."""
    assert_problem(await client.post(f"{API}/webhooks/nobody", content=b"{}"), 404, "not_found")
    assert_problem(await client.post(f"{API}/webhooks/PAYMENTS", content=b"{}"), 404, "not_found")
    assert_problem(await client.put(PAYMENTS, content=b"{}"), 405, "method_not_allowed")


SIGNED_GARBAGE = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b"[" * 5000,
    b'{"a": NaN}',
    b'{"a": "\\ud800"}',
    b"<xml/>",
]


@pytest.mark.parametrize("sent", SIGNED_GARBAGE)
async def test_what_is_signed_but_no_json_object_is_refused(
    client: httpx.AsyncClient, world: World, sent: bytes
) -> None:
    """A partner that signs what is no JSON object hears 422: sending it again won't help."""
    headers = payment("msg_1", payments_secret(world.container), sent)
    assert_problem(await client.post(PAYMENTS, content=sent, headers=headers), 422, "validation_error")
    assert await world.count("webhook_events") == 0


UNKNOWN_TYPES = [b"{}", b'{"type": 5}', b'{"type": "\\u0000"}', b'{"type": "moon.rose"}']


@pytest.mark.parametrize("sent", UNKNOWN_TYPES)
async def test_an_unknown_type_is_kept_and_ignored(client: httpx.AsyncClient, world: World, sent: bytes) -> None:
    """An event of a type that means nothing to us is taken, so that the partner stops, and marked as ignored."""
    headers = payment("msg_1", payments_secret(world.container), sent)
    assert (await client.post(PAYMENTS, content=sent, headers=headers)).status_code == 202
    assert await world.run_jobs() == 1
    assert await world.scalar("SELECT status FROM webhook_events") == "ignored"
    assert await world.scalar("SELECT result->>'status' FROM jobs") == "ignored"


async def stream(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024


async def test_more_than_256_kib_is_too_large(client: httpx.AsyncClient, world: World) -> None:
    """413 by the announced length and by what really comes; 256 KiB themselves are taken."""
    limit = 256 * 1024
    fits = body().ljust(limit)
    headers = payment("msg_1", payments_secret(world.container), fits)
    assert (await client.post(PAYMENTS, content=fits, headers=headers)).status_code == 202
    assert_problem(await client.post(PAYMENTS, content=fits + b" "), 413, "body_too_large")
    assert_problem(await client.post(PAYMENTS, content=stream(limit + 1024)), 413, "body_too_large")


HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "x-delivery-id"]
VALUES = st.one_of(st.binary(max_size=200), st.from_regex(rb"\A(v1|sha256=),?[\x21-\x7e]{0,80}\Z"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([PAYMENTS, MARKETPLACE]),
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=7),
    sent=st.one_of(st.binary(max_size=300), st.just(body())),
)
async def test_garbage_is_the_senders_fault(
    client: httpx.AsyncClient, path: str, headers: list[tuple[str, bytes]], sent: bytes
) -> None:
    """Any bytes in any header, doubled too, and in the body: a refusal of the 400s, never of the 500s."""
    response = await client.post(path, content=sent, headers=[(name.encode(), value) for name, value in headers])
    assert 400 <= response.status_code < 500


async def send(client: httpx.AsyncClient, world: World, event_id: str, kind: str) -> None:
    sent = body(kind)
    headers = payment(event_id, payments_secret(world.container), sent)
    assert (await client.post(PAYMENTS, content=sent, headers=headers)).status_code == 202


async def test_admins_see_and_replay_what_came(client: httpx.AsyncClient, world: World) -> None:
    """The list filters by provider, status, type and time; one event shows its body; a replay is a job of its own."""
    admin = await world.admin()
    await send(client, world, "msg_1", "moon.rose")
    await send(client, world, "msg_2", "moon.set")
    await world.run_jobs()
    page = (await client.get(f"{EVENTS}?type=moon.set&provider=payments&status=ignored", headers=admin.headers)).json()
    assert [item["event_id"] for item in page["items"]] == ["msg_2"]
    empty = await client.get(f"{EVENTS}?received_at__lt=2026-01-01T00:00:00Z", headers=admin.headers)
    assert empty.json()["items"] == []
    first = (await client.get(f"{EVENTS}?limit=1&sort=-received_at", headers=admin.headers)).json()
    rest = await client.get(f"{EVENTS}?limit=1&sort=-received_at&cursor={first['next_cursor']}", headers=admin.headers)
    assert [one["items"][0]["event_id"] for one in (first, rest.json())] == ["msg_2", "msg_1"]
    event = page["items"][0]
    shown = (await client.get(f"{EVENTS}/{event['id']}", headers=admin.headers)).json()
    assert shown["body"] == {"type": "moon.set", "data": {}}
    replay = await client.post(f"{EVENTS}/{event['id']}/replay", headers=admin.headers)
    assert replay.status_code == 202
    assert replay.headers["location"] == f"{API}/jobs/{replay.json()['id']}"
    await world.assert_enqueued(HandleWebhook, event_id=event["id"] - 1)
    assert await world.run_jobs() == 1
    again = (await client.get(f"{EVENTS}/{event['id']}", headers=admin.headers)).json()
    assert (again["status"], again["job_id"]) == ("ignored", replay.json()["id"])


async def test_events_are_for_admins(client: httpx.AsyncClient, world: World) -> None:
    """A client sees and replays nothing; an event that there is none of is not found."""
    client_, admin = await world.person(), await world.admin()
    for method, path in (("GET", EVENTS), ("GET", f"{EVENTS}/1"), ("POST", f"{EVENTS}/1/replay")):
        assert_problem(await client.request(method, path, headers=client_.headers), 403, "forbidden")
        if path != EVENTS:
            assert_problem(await client.request(method, path, headers=admin.headers), 404, "not_found")


async def test_old_events_are_forgotten(client: httpx.AsyncClient, world: World) -> None:
    """Ids are kept for thirty days, and then no longer."""
    await send(client, world, "old", "moon.rose")
    await send(client, world, "young", "moon.rose")
    await world.execute(
        "UPDATE webhook_events SET received_at = now() - interval '30 days 1 minute' WHERE event_id = 'old'"
    )
    async with world.database.session_scope() as session:
        await enqueue(session, Prune(subject=Pruned.WEBHOOK_EVENTS))
    await world.execute("DELETE FROM jobs WHERE name = 'webhook.handle'")
    assert await world.run_jobs() == 1
    assert [row.event_id for row in await world.rows("SELECT event_id FROM webhook_events")] == ["young"]
