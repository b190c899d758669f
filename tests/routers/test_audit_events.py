"""The audit record: what is written into it, who may read it, and that nobody can change it."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import DBAPIError

from app.core.database import sqlstate
from tests.support import API, PASSWORD, World, assert_problem, next_weekday, sign_in

INSUFFICIENT_PRIVILEGE = "42501"


async def events(client: httpx.AsyncClient, world: World, query: str = "") -> list[dict[str, Any]]:
    """What the record says, oldest first, as a superadmin reads it."""
    reader = await world.superadmin()
    answer = await client.get(f"{API}/audit-events?limit=100{query}", headers=reader.headers)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_change_by_an_admin_is_recorded_with_its_request(client: httpx.AsyncClient, world: World) -> None:
    """Who, what, which object, from where, under which request id, and the fields before and after."""
    admin = await world.admin()
    doctor = await world.doctor(full_name="Dr. House")
    answer = await client.patch(
        f"{API}/doctors/{doctor}",
        json={"full_name": "Dr. Cuddy", "specialty": "Diagnostics"},
        headers=admin.headers | {"X-Request-ID": "req-1"},
    )
    assert answer.status_code == 200
    (event,) = await events(client, world)
    assert event.pop("at").endswith("Z")
    assert event.pop("id") > 0
    assert event == {
        "actor_type": "user",
        "actor_id": admin.id,
        "action": "doctor.updated",
        "object_type": "doctor",
        "object_id": doctor,
        "address": "127.0.0.1",
        "request_id": "req-1",
        "changes": {"full_name": {"from": "Dr. House", "to": "Dr. Cuddy"}},
    }


async def test_every_change_of_an_admin_leaves_its_event(client: httpx.AsyncClient, world: World) -> None:
    """Doctors, hours, time off, appointments, reports and accounts: one event each; a change of nothing leaves none."""
    admin, patient = await world.superadmin(), await world.person()
    ask: Any = {"headers": admin.headers}
    doctor = (await client.post(f"{API}/doctors", json={"full_name": "A", "specialty": "B"}, **ask)).json()["id"]
    week = [{"weekday": day, "start": "00:00", "end": "24:00"} for day in range(7)]
    for _ in range(2):
        assert (await client.put(f"{API}/doctors/{doctor}/hours", json=week, **ask)).status_code == 200
    away = {"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-02T00:00:00Z"}
    off = (await client.post(f"{API}/doctors/{doctor}/time-off", json=away, **ask)).json()["id"]
    assert (await client.delete(f"{API}/doctors/{doctor}/time-off/{off}", **ask)).status_code == 204
    slot = f"{next_weekday()}T10:00:00Z"
    body = {"doctor_id": doctor, "starts_at": slot, "patient_id": patient.id}
    booked = (await client.post(f"{API}/appointments", json=body, **ask)).json()["id"]
    assert (await client.post(f"{API}/appointments/{booked}/cancel", **ask)).status_code == 200
    span = {"kind": "utilisation", "from": "2026-12-01", "to": "2026-12-02", "format": "csv"}
    assert (await client.post(f"{API}/reports", json=span, **ask)).status_code == 202
    new = {"email": "new@example.com", "password": PASSWORD, "full_name": "New"}
    user = (await client.post(f"{API}/users", json=new, **ask)).json()["id"]
    for change in ({"role": "admin"}, {"is_active": False}, {"is_active": False}):
        assert (await client.patch(f"{API}/users/{user}", json=change, **ask)).status_code == 200
    assert (await client.delete(f"{API}/users/{user}", **ask)).status_code == 204
    assert (await client.delete(f"{API}/doctors/{doctor}", **ask)).status_code == 204
    found = await events(client, world, f"&actor_id={admin.id}")
    assert [event["action"] for event in found] == [
        "doctor.created",
        "doctor.hours_set",
        "time_off.created",
        "time_off.deleted",
        "appointment.booked",
        "appointment.cancelled",
        "report.requested",
        "user.created",
        "user.updated",
        "user.updated",
        "user.deleted",
        "doctor.deleted",
    ]
    assert PASSWORD not in json.dumps(found)
    roles = await events(client, world, f"&object_type=user&object_id={user}&action=user.updated")
    assert roles[0]["changes"] == {"role": {"from": "client", "to": "admin"}}


async def test_sign_ins_are_recorded(client: httpx.AsyncClient, world: World) -> None:
    """A good one names its user, a failed one the account if there is one; what was typed is nowhere."""
    person = await world.person(password=PASSWORD)
    pair = (await sign_in(client, person.email)).json()
    await sign_in(client, person.email, "a wrong password")
    await sign_in(client, "my-pass-word-in-the-wrong-field", PASSWORD)
    await client.post(f"{API}/auth/logout", json={"refresh_token": pair["refresh_token"]})
    found = await events(client, world)
    told = [(event["action"], event["actor_type"], event["actor_id"], event["object_id"]) for event in found]
    session = found[0]["changes"]["session_id"]
    assert told == [
        ("session.started", "user", person.id, person.id),
        ("session.refused", "anonymous", None, person.id),
        ("session.refused", "anonymous", None, None),
        ("session.ended", "anonymous", None, session),
    ]
    assert "wrong" not in json.dumps(found)


async def test_attacks_are_recorded(client: httpx.AsyncClient, world: World) -> None:
    """A spent refresh token that comes back, wrong proofs of somebody who is signed in, and a program's sign-ins, good
    and bad: a line each."""
    person, boss = await world.person(password=PASSWORD), await world.superadmin()
    pair = (await sign_in(client, person.email)).json()
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    await client.post(f"{API}/auth/token", data=form)
    await world.execute("UPDATE refresh_tokens SET spent_at = spent_at - interval '1 hour'")
    assert (await client.post(f"{API}/auth/token", data=form)).status_code == 400
    wrong = {"current_password": "a wrong password", "new_password": "another horse battery"}
    mail = {"current_password": "a wrong password", "email": "x@example.com"}
    await client.post(f"{API}/auth/mfa/totp", headers=person.headers)
    for method, path, body in (
        ("POST", "/users/me/password", wrong),
        ("POST", "/users/me/email", mail),
        ("POST", "/auth/mfa/totp/confirm", {"otp": "000000"}),
        ("DELETE", "/auth/mfa/totp", {"password": "a wrong password"}),
    ):
        answer = await client.request(method, API + path, json=body, headers=person.headers)
        assert answer.status_code == 422, answer.text
    account = {"name": "The lab", "scopes": ["users:read"]}
    made = (await client.post(f"{API}/service-accounts", json=account, headers=boss.headers)).json()
    for secret, status in ((made["secret"], 200), ("guessed", 401)):
        credentials = httpx.BasicAuth(made["client_id"], secret)
        answer = await client.post(f"{API}/auth/token", data={"grant_type": "client_credentials"}, auth=credentials)
        assert answer.status_code == status
    told = [(row.action, row.actor_type) for row in await world.rows("SELECT * FROM audit_events ORDER BY id")]
    assert told == [
        ("session.started", "user"),
        ("refresh_token.reused", "anonymous"),
        ("password.refused", "user"),
        ("password.refused", "user"),
        ("mfa.refused", "user"),
        ("password.refused", "user"),
        ("service_account.created", "user"),
        ("service_account.signed_in", "anonymous"),
        ("service_account.refused", "anonymous"),
    ]


async def test_a_change_that_fails_leaves_no_event(client: httpx.AsyncClient, world: World) -> None:
    """The event is part of the transaction of its cause: a refused change is not in the record."""
    admin = await world.admin()
    doctor = await world.doctor()
    stale = admin.headers | {"If-Match": '"v99"'}
    refused = await client.delete(f"{API}/doctors/{doctor}/time-off/1", headers=admin.headers)
    assert refused.status_code == 404
    assert (await client.patch(f"{API}/doctors/{doctor}", json={"full_name": "B"}, headers=stale)).status_code == 412
    assert await events(client, world) == []


async def test_superadmins_alone_read_it(client: httpx.AsyncClient, world: World) -> None:
    """Clients and admins are refused, whoever is not signed in as well."""
    for person in (await world.person(), await world.admin()):
        assert_problem(await client.get(f"{API}/audit-events", headers=person.headers), 403, "forbidden")
    assert_problem(await client.get(f"{API}/audit-events"), 401, "invalid_token")


async def test_it_is_a_keyset_list(client: httpx.AsyncClient, world: World) -> None:
    """Pages newest first neither skip nor repeat; filters by time, actor, action and object narrow it."""
    admin = await world.admin()
    for number in range(5):
        body = {"full_name": f"Dr. {number}", "specialty": "B"}
        assert (await client.post(f"{API}/doctors", json=body, headers=admin.headers)).status_code == 201
    reader = await world.superadmin()
    seen: list[int] = []
    cursor = ""
    while True:
        url = f"{API}/audit-events?limit=2&sort=-id{cursor}"
        page = (await client.get(url, headers=reader.headers)).json()
        seen += [event["object_id"] for event in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
    assert len(await events(client, world, "&at__gte=2020-01-01T00:00:00Z&action=doctor.created")) == 5
    assert await events(client, world, "&at__lt=2020-01-01T00:00:00Z") == []
    assert len(await events(client, world, f"&object_type=doctor&object_id={seen[0]}")) == 1
    assert await events(client, world, f"&actor_id={reader.id}") == []


async def one_transaction(world: World, statements: str) -> None:
    async with world.database.engine.begin() as connection:
        for statement in statements.split("; "):
            await connection.exec_driver_sql(statement)


async def record(world: World, age: str) -> None:
    await world.execute(
        "INSERT INTO audit_events (at, actor_type, action, object_type) "
        f"VALUES (now() - interval '{age}', 'system', 'x.y', 'x')"
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET action = 'nothing'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "SELECT set_config('frontdesk.pruning', 'on', true); DELETE FROM audit_events",
        "SELECT set_config('frontdesk.pruning', 'on', true); UPDATE audit_events SET address = ''",
        "SELECT prune_audit_events(29, 100)",
        "SELECT prune_audit_events(-1, 100)",
        "SELECT prune_audit_events(NULL, 100)",
    ],
)
async def test_the_database_refuses_every_change(world: World, statement: str) -> None:
    """Nothing alters or removes an event younger than thirty days, even for the tables' owner."""
    await record(world, "1 day")
    await record(world, "29 days")
    with pytest.raises(DBAPIError) as refused:
        await one_transaction(world, statement)
    assert sqlstate(refused.value) == INSUFFICIENT_PRIVILEGE
    assert await world.count("audit_events") == 2


async def test_an_old_event_can_be_removed_by_its_function_alone(world: World) -> None:
    """Past the retention too a plain DELETE is refused; a role that may only insert and read can call the function."""
    await record(world, "60 days")
    await record(world, "20 days")
    with pytest.raises(DBAPIError):
        await world.execute("DELETE FROM audit_events WHERE at < now() - interval '50 days'")
    async with world.database.engine.connect() as connection:
        transaction = await connection.begin()
        for statement in (
            "CREATE ROLE frontdesk_app",
            "GRANT SELECT, INSERT ON audit_events TO frontdesk_app",
            "GRANT EXECUTE ON FUNCTION prune_audit_events(bigint, bigint) TO frontdesk_app",
            "SET LOCAL ROLE frontdesk_app",
        ):
            await connection.exec_driver_sql(statement)
        removed = (await connection.exec_driver_sql("SELECT prune_audit_events(30, 100)")).scalar_one()
        left = (await connection.exec_driver_sql("SELECT count(*) FROM audit_events")).scalar_one()
        await transaction.rollback()
    assert (removed, left) == (1, 1)
