"""Webhooks to partners, from the event to the partner's server and back."""

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from app.schemas.messages.mails import SendEndpointDisabledMail
from app.services import webhook_delivery
from app.services.webhook_delivery import RETRY
from tests.outgoing import ENDPOINTS, Outgoing
from tests.receiver import receiver
from tests.support import API, clinic_time, next_weekday


async def test_an_event_reaches_its_subscribers(outgoing: Outgoing) -> None:
    """Type, time and data, signed so that the standard's own library takes them; who did not ask gets nothing."""
    async with receiver() as partner, receiver() as other:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.subscribe(other.url(), "appointment.completed")
        await outgoing.register("ann@example.com")
        assert await outgoing.deliver() == 1
    [request] = partner.received
    said = request.verified(endpoint["secret"])
    assert (said["type"], said.keys()) == ("user.registered", {"type", "timestamp", "data"})
    assert said["timestamp"].endswith("Z")
    assert said["data"].items() >= {"email": "ann@example.com", "full_name": "Pat Ient", "role": "client"}.items()
    assert other.received == []


async def test_an_appointment_tells_its_story_in_order(outgoing: Outgoing) -> None:
    """Booked, moved, cancelled: each step is an event with the state after it, and no reason of the patient in it."""
    world, client = outgoing.world, outgoing.client
    doctor_id, person = await world.doctor(), await world.person()
    times = [clinic_time(world.container, next_weekday(), clock) for clock in ("10:00", "11:00")]
    names = ["appointment.booked", "appointment.rescheduled", "appointment.cancelled"]
    async with receiver() as partner:
        endpoint = await outgoing.subscribe(partner.url(), *names)
        body = {"doctor_id": doctor_id, "starts_at": times[0], "reason": "a secret between us"}
        booked = await client.post(f"{API}/appointments", json=body, headers=person.headers)
        place = f"{API}/appointments/{booked.json()['id']}"
        await client.patch(place, json={"starts_at": times[1]}, headers=person.headers)
        await client.post(f"{place}/cancel", headers=person.headers)
        assert await outgoing.deliver() == 3
    said = [request.verified(endpoint["secret"]) for request in partner.received]
    assert [one["type"] for one in said] == names
    assert [one["data"]["starts_at"] for one in said] == [times[0], times[1], times[1]]
    assert said[2]["data"]["status"] == "cancelled"
    assert not any(b"secret between" in request.body for request in partner.received)


async def test_what_is_rolled_back_is_not_announced(outgoing: Outgoing) -> None:
    """The delivery is written with its cause, or not at all."""
    async with receiver() as partner:
        await outgoing.subscribe(partner.url(), "appointment.booked")
        answer = await outgoing.client.post(
            f"{API}/appointments",
            json={"doctor_id": 99, "starts_at": "2030-01-01T10:00:00Z"},
            headers=outgoing.admin.headers,
        )
    assert answer.status_code in (404, 422)
    assert await outgoing.rows() == []


async def test_a_retry_says_the_same_under_the_same_id(outgoing: Outgoing) -> None:
    """Id and body stay over the attempts, the timestamp is that of the attempt, and the delays grow."""
    async with receiver(500, None, 200) as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        assert await outgoing.deliver() == 1
        [row] = await outgoing.rows()
        assert (row.status, row.attempts, row.response_status, row.leased_until) == ("pending", 1, 500, None)
        assert timedelta(seconds=2) < row.next_attempt_at - row.last_attempt_at <= timedelta(seconds=6)
        await outgoing.deliver(everything=True)
        [row] = await outgoing.rows()
        assert (row.response_status, row.response_body) == (None, None)
        assert "RemoteProtocolError" in row.error
        await outgoing.deliver(everything=True)
    [row] = await outgoing.rows()
    assert (row.status, row.attempts, row.response_status, row.error) == ("succeeded", 3, 200, None)
    assert len({request.headers["webhook-id"] for request in partner.received}) == 1
    assert len({request.body for request in partner.received}) == 1
    for request in partner.received:
        request.verified(endpoint["secret"])


async def test_an_attempt_is_signed_at_its_own_time(outgoing: Outgoing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry an hour later says so, or a receiver that checks the time would never take it."""
    hour_ago = time.time() - 3600
    async with receiver(500, 200) as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        with monkeypatch.context() as then:
            then.setattr(webhook_delivery, "time", lambda: hour_ago)
            await outgoing.deliver()
        await outgoing.deliver(everything=True)
    first, second = partner.received
    assert (int(first.headers["webhook-timestamp"]), first.body) == (int(hour_ago), second.body)
    assert abs(int(second.headers["webhook-timestamp"]) - time.time()) < 60
    second.verified(endpoint["secret"])


def test_the_delays_last_three_days() -> None:
    """They double from seconds to hours; within three days there are enough attempts, and not too many."""
    delays = [RETRY.delay(attempt) for attempt in range(1, 60)]
    assert all(2.5 * 2**n <= delay <= 5 * 2**n for n, delay in enumerate(delays[:12]))
    assert max(delays) <= 8 * 3600
    total, attempts = 0.0, 0
    while total < 3 * 86400:
        total, attempts = total + delays[attempts], attempts + 1
    assert 16 < attempts < 32


async def test_after_three_days_it_is_given_up(outgoing: Outgoing) -> None:
    """A delivery whose next attempt would be too late has failed, and so has one that waited for nothing but time."""
    async with receiver(500) as partner:
        await outgoing.subscribe(partner.url(), "user.registered")
        for name in ("ann", "bob"):
            await outgoing.register(f"{name}@example.com")
        await outgoing.world.execute(
            "UPDATE webhook_deliveries SET expires_at = now() + interval '1 second' WHERE id = 1"
        )
        await outgoing.world.execute("UPDATE webhook_deliveries SET expires_at = now() WHERE id = 2")
        assert await outgoing.deliver() == 1
        await outgoing.container.deliveries.expire()
    assert [(row.status, row.attempts, row.error) for row in await outgoing.rows()] == [
        ("failed", 1, None),
        ("failed", 0, "not sent within three days"),
    ]
    assert all(row.finished_at is not None for row in await outgoing.rows())


async def test_events_of_one_object_go_out_in_order(outgoing: Outgoing) -> None:
    """While one waits for its next attempt, the later ones of its object wait, and those of others do not."""
    async with receiver(500, 200) as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        await outgoing.register("bob@example.com")
        # The same object as the first one's, later.
        await outgoing.world.execute(
            "INSERT INTO webhook_deliveries (endpoint_id, event, object_type, object_id, payload, expires_at)"
            " SELECT endpoint_id, 'user.renamed', object_type, object_id, payload, expires_at"
            " FROM webhook_deliveries WHERE id = 1"
        )
        await outgoing.world.execute("UPDATE webhook_deliveries SET next_attempt_at = now() + '1 min' WHERE id = 2")
        assert await outgoing.deliver() == 1
        assert [row.status for row in await outgoing.rows()] == ["pending"] * 3, "the third waits for the first"
        await outgoing.world.execute("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE id = 2")
        assert await outgoing.deliver() == 1, "the second is another object's"
        await outgoing.deliver(everything=True)
        await outgoing.deliver(everything=True)
    said = [request.verified(endpoint["secret"]) for request in partner.received]
    assert [(one["type"], one["data"]["email"][:3]) for one in said] == [
        ("user.registered", "ann"),
        ("user.registered", "bob"),
        ("user.registered", "ann"),
        ("user.renamed", "ann"),
    ]


async def test_gone_is_gone(outgoing: Outgoing) -> None:
    """A 410 turns the endpoint off at once, ends the delivery, and its owner gets a mail."""
    async with receiver(410) as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        await outgoing.deliver()
        await outgoing.register("bob@example.com")
        assert await outgoing.deliver() == 0
    shown = await outgoing.get(str(endpoint["id"]))
    assert (shown["is_active"], shown["disabled_reason"]) == (False, "gone")
    assert [row.status for row in await outgoing.rows()] == ["failed"], "the second was not for it any more"
    await outgoing.world.assert_enqueued(SendEndpointDisabledMail, endpoint_id=endpoint["id"])
    await outgoing.world.run_jobs()
    mails = [mail.read_text() for mail in outgoing.container.settings.mail.directory.glob("*.eml")]
    [mail] = [mail for mail in mails if "no longer sends webhooks" in mail]
    assert f"To: {outgoing.admin.email}" in mail


async def test_a_long_failing_endpoint_is_turned_off(outgoing: Outgoing) -> None:
    """Three days without a success, and at least ten failures: off, with one mail; a single success begins anew."""
    async with receiver(500, 200, 500) as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        await outgoing.deliver()
        age = "UPDATE webhook_endpoints SET failing_since = now() - interval '73 hours', failures = 9"
        await outgoing.world.execute(age)
        await outgoing.deliver(everything=True)
        state = "SELECT failures, failing_since, is_active FROM webhook_endpoints"
        assert tuple((await outgoing.world.rows(state))[0]) == (0, None, True)
        await outgoing.register("bob@example.com")
        await outgoing.deliver()
        await outgoing.world.execute(age)
        await outgoing.deliver(everything=True)
        await outgoing.deliver(everything=True)
    shown = await outgoing.get(str(endpoint["id"]))
    assert (shown["is_active"], shown["disabled_reason"]) == (False, "failing")
    await outgoing.world.assert_enqueued(SendEndpointDisabledMail, endpoint_id=endpoint["id"])


async def test_turned_on_again_it_gets_what_waited(outgoing: Outgoing) -> None:
    """An endpoint that is off keeps what was meant for it, and gets it when an admin turns it on."""
    async with receiver(500, 200) as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        await outgoing.deliver()
        place = f"{ENDPOINTS}/{endpoint['id']}"
        off = await outgoing.client.patch(place, json={"is_active": False}, headers=outgoing.admin.headers)
        assert off.json()["is_active"] is False
        assert await outgoing.deliver(everything=True) == 0
        await outgoing.client.patch(place, json={"is_active": True}, headers=outgoing.admin.headers)
        assert await outgoing.deliver(everything=True) == 1
    assert [row.status for row in await outgoing.rows()] == ["succeeded"]


async def test_both_secrets_sign_while_they_rotate(outgoing: Outgoing) -> None:
    """For a day after a rotation the old secret verifies as well as the new one; then the new one alone."""
    async with receiver() as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        place = f"{ENDPOINTS}/{endpoint['id']}/secret"
        rotated = (await outgoing.client.post(place, headers=outgoing.admin.headers)).json()
        assert rotated["secret"].startswith("whsec_")
        assert rotated["secret"] != endpoint["secret"]
        await outgoing.register("ann@example.com")
        await outgoing.deliver()
        await outgoing.world.execute("UPDATE webhook_endpoints SET previous_until = now()")
        await outgoing.register("bob@example.com")
        await outgoing.deliver()
    first, second = partner.received
    assert first.verified(endpoint["secret"]) == first.verified(rotated["secret"])
    assert second.verified(rotated["secret"])
    assert len(second.headers["webhook-signature"].split()) == 1


async def test_a_private_address_is_not_called_even_when_it_was_stored(outgoing: Outgoing) -> None:
    """What the check at the creation could not know is refused at the connection."""
    await outgoing.subscribe("https://later.invalid/hook", "user.registered")
    await outgoing.world.execute("UPDATE webhook_endpoints SET url = 'https://10.0.0.1/hook'")
    await outgoing.register("ann@example.com")
    assert await outgoing.deliver() == 1
    [row] = await outgoing.rows()
    assert (row.status, row.error) == ("pending", "the address leads to an address that is not public")


async def test_a_late_outcome_is_dropped(outgoing: Outgoing) -> None:
    """An attempt whose lease has ended and whose successor has begun changes nothing any more."""
    async with receiver() as partner:
        await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        deliveries = outgoing.container.deliveries
        [late] = await deliveries.claim(limit=5, failing_limit=5, per_endpoint=2)
        assert await deliveries.claim(limit=5, failing_limit=5, per_endpoint=2) == []
        await outgoing.world.execute(
            "UPDATE webhook_deliveries SET next_attempt_at = now(), leased_until = now() - interval '1 s'"
        )
        [again] = await deliveries.claim(limit=5, failing_limit=5, per_endpoint=2)
        await deliveries.settle([await deliveries.send(late)])
        [row] = await outgoing.rows()
        assert (row.status, row.attempts) == ("pending", 2)
        await deliveries.settle([await deliveries.send(again)])
    [row] = await outgoing.rows()
    assert row.status == "succeeded"


@pytest.mark.parametrize(("failures", "expected"), [(0, 2), (1, 1)])
async def test_an_endpoint_has_its_share_and_no_more(outgoing: Outgoing, failures: int, expected: int) -> None:
    """At most so many at once, one while it fails, and none during its pause, over all deliverers."""
    await outgoing.subscribe("https://later.invalid/hook", "user.registered")
    for name in "abcd":
        await outgoing.register(f"{name}@example.com")
    await outgoing.world.execute("UPDATE webhook_endpoints SET failures = :n", n=failures)
    claim = outgoing.container.deliveries.claim
    assert len(await claim(limit=50, failing_limit=50, per_endpoint=2)) == expected
    assert await claim(limit=50, failing_limit=50, per_endpoint=2) == []
    await outgoing.world.execute("UPDATE webhook_deliveries SET leased_until = NULL, next_attempt_at = now()")
    await outgoing.world.execute("UPDATE webhook_endpoints SET paused_until = now() + interval '1 min'")
    assert await claim(limit=50, failing_limit=50, per_endpoint=2) == []


async def test_with_nothing_to_send_a_claim_is_one_question(outgoing: Outgoing) -> None:
    """No transaction in turns is begun for nothing, every second in every worker."""
    asked: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement.split(maxsplit=1)[0])

    deliveries = outgoing.container.deliveries
    engines = deliveries.database.read._engine, deliveries.database.engine.sync_engine
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        assert await deliveries.claim(limit=5, failing_limit=5, per_endpoint=2) == []
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)
    assert asked == ["SELECT"]
