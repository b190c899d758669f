"""`POST /notifications`: what is accepted, and what the job says of it."""

import email
from email import policy
from typing import Any

import httpx
import pytest

from app.core.enums import Role
from app.schemas.messages.notifications import SendNotification
from tests.support import API, Person, World, assert_problem

ASKED: dict[str, Any] = {
    "template": "announcement",
    "subject": "We are moving",
    "audience": {"role": "client"},
    "context": {"body": "From May on we are at Quay 7.\n\nSee you there."},
}


async def ask(client: httpx.AsyncClient, who: Person, *, key: str = "", **fields: Any) -> httpx.Response:
    headers = who.headers | ({"Idempotency-Key": key} if key else {})
    return await client.post(f"{API}/notifications", json=ASKED | fields, headers=headers)


def mails(world: World) -> dict[str, Any]:
    """What was sent, by recipient."""
    files = world.container.settings.mail.directory.glob("*.eml")
    found = [email.message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return {mail["to"]: mail for mail in found}


async def test_a_notification_is_accepted_and_sent(client: httpx.AsyncClient, world: World) -> None:
    """202 with the io job and its place; then each client has one mail, and the job has counted them."""
    admin, people = await world.admin(), [await world.person() for _ in range(3)]
    accepted = await ask(client, admin)
    assert accepted.status_code == 202
    job = accepted.json()
    assert (job["name"], job["queue"], job["status"]) == ("notification.send", "io", "queued")
    assert accepted.headers["location"] == f"{API}/jobs/{job['id']}"
    await world.run_jobs()
    done = (await client.get(accepted.headers["location"], headers=admin.headers)).json()
    assert done["status"] == "succeeded"
    assert done["progress"] == {"done": 3, "total": 3, "note": None}
    assert done["result"] == {"recipients": 3, "sent": 3, "failed_count": 0, "failed": []}
    sent = mails(world)
    assert sent.keys() == {person.email for person in people}
    for mail in sent.values():
        assert mail["subject"] == "We are moving"
        assert mail["message-id"].startswith("<notification-1.")
        text = mail.get_body(("plain",)).get_content()
        assert "From May on we are at Quay 7.\n\nSee you there.\n" in text
    assert await world.scalar("SELECT count(*) FROM audit_events WHERE action = 'notification.requested'") == 1


async def test_a_notification_to_some(client: httpx.AsyncClient, world: World) -> None:
    """Ids given twice count once; those that are nobody's, or of somebody who is not active, are left out."""
    admin, ann, ben = await world.admin(), await world.person(), await world.person(is_active=False)
    await world.person()
    ids = [ann.id, ann.id, ben.id, admin.id, 99999]
    accepted = await ask(client, admin, audience={"user_ids": ids})
    await world.run_jobs()
    assert mails(world).keys() == {ann.email, admin.email}
    done = (await client.get(accepted.headers["location"], headers=admin.headers)).json()
    assert done["result"]["recipients"] == 2


async def test_a_notification_to_nobody(client: httpx.AsyncClient, world: World) -> None:
    """An audience of nobody succeeds with nothing sent."""
    admin = await world.admin()
    accepted = await ask(client, admin, audience={"role": "superadmin"})
    await world.run_jobs()
    done = (await client.get(accepted.headers["location"], headers=admin.headers)).json()
    assert (done["status"], done["result"]["sent"]) == ("succeeded", 0)


async def test_every_template(client: httpx.AsyncClient, world: World) -> None:
    """Days on which the clinic is closed are said in words, with and without a reason; markup is shown, not obeyed."""
    admin = await world.admin()
    closure: dict[str, Any] = {"template": "closure", "audience": {"user_ids": [admin.id]}}
    days = {"first_day": "2026-12-24", "last_day": "2027-01-01"}
    await ask(client, admin, **closure, context=days | {"reason": "<b>Builders</b>"})
    await world.run_jobs()
    mail = mails(world)[admin.email]
    text, page = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "from Thursday, 24 December 2026 to Friday, 1 January 2027" in text
    assert ("<b>Builders</b>" in text, "&lt;b&gt;Builders&lt;/b&gt;" in page) == (True, True)
    assert (await ask(client, admin, **closure, context=days)).status_code == 202


async def test_repeated_under_one_key_it_is_sent_once(client: httpx.AsyncClient, world: World) -> None:
    """The same key gives the same job; nobody is mailed twice."""
    admin = await world.admin()
    first, second = [await ask(client, admin, key="k") for _ in range(2)]
    assert (second.json(), second.headers["idempotency-replayed"]) == (first.json(), "true")
    assert len(await world.enqueued(SendNotification)) == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"template": "verify_email"}, "announcement"),
    ({"template": "../secrets"}, "announcement"),
    ({"template": None}, "announcement"),
    ({"context": {}}, "body"),
    ({"context": None}, "context"),
    ({"context": {"body": "x", "link": "https://evil.example"}}, "link"),
    ({"context": {"body": " "}}, "body"),
    ({"context": {"body": "x\0"}}, "body"),
    ({"context": {"body": "x" * 20_001}}, "body"),
    ({"template": "closure", "context": {"first_day": "2026-12-24", "last_day": "2026-12-23"}}, "last_day"),
    ({"subject": "Hello\r\nBcc: all@example.com"}, "subject"),
    ({"subject": "Hello\u2028there"}, "subject"),
    ({"subject": " "}, "subject"),
    ({"subject": "x" * 201}, "subject"),
    ({"audience": {}}, "audience"),
    ({"audience": {"role": "client", "user_ids": [1]}}, "audience"),
    ({"audience": {"role": "everybody"}}, "role"),
    ({"audience": {"user_ids": []}}, "user_ids"),
    ({"audience": {"user_ids": ["1"]}}, "user_ids"),
    ({"audience": {"user_ids": list(range(1, 10_002))}}, "user_ids"),
    ({"from": "boss@example.com"}, "from"),
]


@pytest.mark.parametrize(("fields", "named"), REFUSED)
async def test_a_notification_that_can_not_be(
    client: httpx.AsyncClient, world: World, fields: dict[str, Any], named: str
) -> None:
    """422 that names the field, and for an unknown template those that there are; no job."""
    refused = assert_problem(await ask(client, await world.admin(), **fields), 422, "validation_error")
    assert named in str(refused["errors"])
    assert await world.count("jobs") == 0


async def test_a_fault_is_named_where_the_body_has_it(client: httpx.AsyncClient, world: World) -> None:
    """No name of a choice stands in the place of a fault, and an audience that is none is one fault that says why."""
    admin = await world.admin()
    for audience in ({}, {"role": "client", "user_ids": [1]}, "all"):
        refused = assert_problem(await ask(client, admin, audience=audience), 422, "validation_error")
        said = "must be an object with exactly one of role, user_ids"
        assert refused["errors"] == [{"loc": ["body", "audience"], "msg": said, "type": "one_of"}]
    refused = assert_problem(
        await ask(client, admin, audience={"user_ids": [1, "2"]}, context={}), 422, "validation_error"
    )
    assert [one["loc"] for one in refused["errors"]] == [
        ["body", "audience", "user_ids", 1],
        ["body", "context", "body"],
    ]
    unknown = assert_problem(await ask(client, admin, template="sale"), 422, "validation_error")
    assert [one["loc"] for one in unknown["errors"]] == [["body"]]
    assert "'announcement', 'closure'" in unknown["detail"]


async def test_who_may_notify(client: httpx.AsyncClient, world: World) -> None:
    """Admins alone, whatever the body says."""
    assert_problem(await client.post(f"{API}/notifications", json=ASKED), 401, "invalid_token")
    assert_problem(await ask(client, await world.person()), 403, "forbidden")
    assert (await ask(client, await world.person(Role.SUPERADMIN))).status_code == 202
