"""Subscriptions of partners, over HTTP."""

import httpx
import pytest

from app.core.enums import EventName
from app.core.webhook_signatures import secret_key
from app.schemas.messages.webhooks import RedeliverWebhook
from tests.outgoing import ENDPOINTS, Outgoing
from tests.receiver import receiver
from tests.support import API, World, assert_problem

HOOK = "https://hooks.example.invalid/in?from=frontdesk"
BODY = {"url": HOOK, "events": ["user.registered", "order.paid", "user.registered"]}


async def test_an_endpoint_lives(client: httpx.AsyncClient, world: World) -> None:
    """Made with a secret that is shown once, read, changed under its ETag, listed, deleted."""
    admin = await world.admin()
    made = await client.post(ENDPOINTS, json=BODY, headers=admin.headers)
    assert made.status_code == 201
    shown = made.json()
    place = made.headers["location"]
    assert place == f"{ENDPOINTS}/{shown['id']}"
    assert 24 <= len(secret_key(shown.pop("secret"))) <= 64
    assert shown["events"] == ["order.paid", "user.registered"]
    got = await client.get(place, headers=admin.headers)
    assert (got.json(), got.headers["etag"]) == (shown, made.headers["etag"])
    changed = await client.patch(
        place, json={"events": ["order.cancelled"]}, headers=admin.headers | {"If-Match": made.headers["etag"]}
    )
    assert changed.json() == shown | {"events": ["order.cancelled"]}
    stale = admin.headers | {"If-Match": made.headers["etag"]}
    assert_problem(await client.patch(place, json={"is_active": False}, headers=stale), 412, "precondition_failed")
    listed = (await client.get(f"{ENDPOINTS}?is_active=true&count=true", headers=admin.headers)).json()
    assert (listed["total"], listed["items"]) == (1, [changed.json()])
    assert (await client.delete(place, headers=admin.headers)).status_code == 204
    assert_problem(await client.get(place, headers=admin.headers), 404, "not_found")
    assert_problem(await client.get(f"{place}/deliveries", headers=admin.headers), 404, "not_found")
    done = await world.rows("SELECT action FROM audit_events WHERE object_type = 'webhook_endpoint' ORDER BY id")
    assert [row.action.partition(".")[2] for row in done] == ["created", "updated", "deleted"]


async def test_secrets_lie_sealed(client: httpx.AsyncClient, world: World) -> None:
    """The table holds nothing that the secret could be read from, and no two seals are alike."""
    admin = await world.admin()
    for _ in range(2):
        made = (await client.post(ENDPOINTS, json=BODY, headers=admin.headers)).json()
    rows = await world.rows("SELECT secret FROM webhook_endpoints")
    assert rows[0].secret != rows[1].secret
    assert all(
        made["secret"].encode() not in row.secret and secret_key(made["secret"]) not in row.secret for row in rows
    )


REFUSED = [
    "http://hooks.example.com/",
    "https://127.0.0.1/",
    "https://localhost/",
    "https://hooks.localhost./",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://printer.local/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://0x7f.1/",
    "https://2130706433/",
    "https://017700000001/",
    "https://127。0。0。1/",
    "https://169.254.169.254/latest/meta-data",
    "https://[fd00:ec2::254]/",
    "https://user:password@hooks.example.com/",
    "https://hooks.example.com@10.0.0.1/",
    "https://hooks.example.com/#part",
    "https://hooks.example.com:0/",
    "ftp://hooks.example.com/",
    "javascript:alert(1)",
    "hooks.example.com",
    "https://",
    "",
    "https://hooks.example.com/" + "x" * 1000,
    "https://hooks.example.com/\u0000",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_a_url_that_is_not_called_is_refused(client: httpx.AsyncClient, world: World, url: str) -> None:
    """Plain http, private addresses in any notation, credentials and whatever is no URL: 422 at `url`."""
    admin = await world.admin()
    answer = await client.post(ENDPOINTS, json=BODY | {"url": url}, headers=admin.headers)
    problem = assert_problem(answer, 422, "validation_error")
    assert problem["errors"][0]["loc"] == ["body", "url"]
    made = (await client.post(ENDPOINTS, json=BODY, headers=admin.headers)).json()
    changed = await client.patch(f"{ENDPOINTS}/{made['id']}", json={"url": url}, headers=admin.headers)
    assert_problem(changed, 422, "validation_error")


@pytest.mark.parametrize("events", [[], ["moon.rose"], None, "user.registered"])
async def test_events_are_those_of_the_contract(client: httpx.AsyncClient, world: World, events: object) -> None:
    """A subscription to nothing, or to what never happens, is a mistake."""
    admin = await world.admin()
    answer = await client.post(ENDPOINTS, json=BODY | {"events": events}, headers=admin.headers)
    assert_problem(answer, 422, "validation_error")
    assert [name.value for name in EventName if "appointment" in name.value] == [
        f"appointment.{step}" for step in ("booked", "rescheduled", "cancelled", "completed")
    ]


async def test_deliveries_are_on_record(outgoing: Outgoing) -> None:
    """The list shows request, answer, status, time and attempts, and filters; one of them can be read by itself."""
    async with receiver(500, 200) as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        await outgoing.deliver()
        await outgoing.deliver(everything=True)
        await outgoing.register("bob@example.com")
    page = await outgoing.get(f"{endpoint['id']}/deliveries?status=succeeded&event=user.registered")
    [shown] = page["items"]
    sent = partner.received[1]
    assert (shown["attempts"], shown["status"], shown["error"]) == (2, "succeeded", None)
    assert shown["response"] == {"status": 200, "body": "ok"}
    assert shown["request"]["url"] == partner.url()
    assert shown["request"]["headers"]["webhook-id"] == sent.headers["webhook-id"]
    assert shown["request"]["body"]["data"]["email"] == "ann@example.com"
    assert shown["duration_ms"] >= 0
    assert shown["next_attempt_at"] is None
    pending = await outgoing.get(f"{endpoint['id']}/deliveries?status=pending&sort=-id")
    assert [(one["attempts"], one["response"]) for one in pending["items"]] == [(0, None)]
    assert await outgoing.get(f"{endpoint['id']}/deliveries/{shown['id']}") == shown
    other = await outgoing.subscribe(partner.url(), "user.registered")
    path = f"{ENDPOINTS}/{other['id']}/deliveries/{shown['id']}"
    assert_problem(await outgoing.client.get(path, headers=outgoing.admin.headers), 404, "not_found")


async def test_a_delivery_is_sent_again(outgoing: Outgoing) -> None:
    """Redelivery is a job; the partner gets the same id and body, whether the first had failed or not."""
    async with receiver(200, 410, 200) as partner:
        endpoint = await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        await outgoing.deliver()
        [row] = await outgoing.rows()
        path = f"{ENDPOINTS}/{endpoint['id']}/deliveries/{row.id}/redeliver"
        asked = await outgoing.client.post(path, headers=outgoing.admin.headers)
        assert asked.status_code == 202
        assert asked.headers["location"] == f"{API}/jobs/{asked.json()['id']}"
        await outgoing.world.assert_enqueued(RedeliverWebhook, delivery_id=row.id)
        await outgoing.world.run_jobs()
        assert await outgoing.deliver() == 1
        refused = await outgoing.client.post(path, headers=outgoing.admin.headers)
        assert_problem(refused, 409, "conflict")
        place = f"{ENDPOINTS}/{endpoint['id']}"
        await outgoing.client.patch(place, json={"is_active": True}, headers=outgoing.admin.headers)
        assert (await outgoing.client.post(path, headers=outgoing.admin.headers)).status_code == 202
        await outgoing.world.run_jobs()
        assert await outgoing.deliver() == 1
    assert [request.verified(endpoint["secret"]) for request in partner.received] == [
        partner.received[0].verified(endpoint["secret"])
    ] * 3
    assert len({request.headers["webhook-id"] for request in partner.received}) == 1
    assert (await outgoing.rows())[0].status == "succeeded"


async def test_endpoints_are_for_admins(client: httpx.AsyncClient, world: World) -> None:
    """A client is forbidden all of it."""
    person = await world.person()
    place, delivery = f"{ENDPOINTS}/1", f"{ENDPOINTS}/1/deliveries/1"
    calls = [
        *(("GET", path) for path in (ENDPOINTS, place, f"{place}/deliveries", delivery)),
        *(("POST", path) for path in (ENDPOINTS, f"{place}/secret", f"{delivery}/redeliver")),
        ("PATCH", place),
        ("DELETE", place),
    ]
    for method, path in calls:
        assert_problem(await client.request(method, path, json={}, headers=person.headers), 403, "forbidden")
        assert_problem(await client.request(method, path, json={}), 401, "invalid_token")
