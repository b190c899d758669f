"""The own profile, and accounts as admins see them."""

import asyncio
from typing import Any

import httpx
import pytest

from app.core.enums import Role
from app.schemas.messages.mails import SendVerificationMail
from tests.support import API, PASSWORD, World, assert_problem, sign_in

FIELDS = {"id", "email", "full_name", "role", "is_active", "email_verified", "created_at"}
NEW = {"email": "new@example.com", "password": PASSWORD, "full_name": "New"}


async def test_the_own_profile(client: httpx.AsyncClient, world: World) -> None:
    """It has the contract's fields and no other, with UTC times, and the name can be changed."""
    person = await world.person(email="pat@example.com")
    me = await client.get(f"{API}/users/me", headers=person.headers)
    body = me.json()
    assert body.keys() == FIELDS
    assert (body["id"], body["email"], body["role"], body["is_active"]) == (
        person.id,
        "pat@example.com",
        "client",
        True,
    )
    assert body["created_at"].endswith("Z")
    changed = await client.patch(f"{API}/users/me", json={"full_name": " Zoë 🩺 "}, headers=person.headers)
    assert (changed.status_code, changed.json()) == (200, body | {"full_name": "Zoë 🩺"})


OWN_REFUSED: list[Any] = [
    {"role": "admin"},
    {"email": "x@example.com"},
    {"is_active": False},
    {"email_verified": True},
    {"id": 5},
    {"full_name": None},
    {"full_name": ""},
    {"full_name": "x\0"},
    {"full_name": 5},
    [],
    "text",
    None,
]


async def test_what_nobody_changes_of_themselves(client: httpx.AsyncClient, world: World) -> None:
    """Anything but a proper name is 422, and the profile stays."""
    person = await world.person()
    before = (await client.get(f"{API}/users/me", headers=person.headers)).json()
    for json in OWN_REFUSED:
        refused = await client.patch(f"{API}/users/me", json=json, headers=person.headers)
        assert_problem(refused, 422, "validation_error")
        assert (await client.get(f"{API}/users/me", headers=person.headers)).json() == before


async def test_an_admin_makes_an_account(client: httpx.AsyncClient, world: World) -> None:
    """201 with place and tag, a verification mail, and the account signs in; an address in use is 409, in any case."""
    admin = await world.admin()
    made = await client.post(f"{API}/users", json=NEW, headers=admin.headers)
    assert made.status_code == 201
    assert made.json().keys() == FIELDS
    assert (made.json()["role"], made.json()["email_verified"]) == ("client", False)
    read = await client.get(made.headers["location"], headers=admin.headers)
    assert (read.json(), read.headers["etag"]) == (made.json(), made.headers["etag"])
    await world.assert_enqueued(SendVerificationMail, user_id=made.json()["id"])
    assert (await sign_in(client, "new@example.com")).status_code == 200
    taken = await client.post(f"{API}/users", json=NEW | {"email": "NEW@example.com"}, headers=admin.headers)
    assert_problem(taken, 409, "conflict")


@pytest.mark.parametrize("role", [Role.ADMIN, Role.SUPERADMIN])
async def test_roles_are_a_superadmins_to_give(client: httpx.AsyncClient, world: World, role: Role) -> None:
    """An admin neither makes staff nor changes a role; a superadmin does both."""
    admin, boss, patient = await world.admin(), await world.superadmin(), await world.person()
    assert_problem(
        await client.post(f"{API}/users", json=NEW | {"role": role}, headers=admin.headers), 403, "forbidden"
    )
    where = f"{API}/users/{patient.id}"
    assert_problem(await client.patch(where, json={"role": role}, headers=admin.headers), 403, "forbidden")
    assert (await client.get(where, headers=admin.headers)).json()["role"] == "client"
    made = await client.post(f"{API}/users", json=NEW | {"role": role}, headers=boss.headers)
    assert (made.status_code, made.json()["role"]) == (201, role)
    raised = await client.patch(where, json={"role": role}, headers=boss.headers)
    assert (raised.status_code, raised.json()["role"]) == (200, role)


async def test_an_admin_runs_the_clients_accounts(client: httpx.AsyncClient, world: World) -> None:
    """Name and activity of a client are an admin's to change; naming the role that is there already changes nothing."""
    admin, patient = await world.admin(), await world.person()
    where = f"{API}/users/{patient.id}"
    for json in ({"full_name": "Renamed"}, {"role": "client"}, {"is_active": False}, {"is_active": True}):
        changed = await client.patch(where, json=json, headers=admin.headers)
        assert changed.status_code == 200, changed.text
        assert changed.json() | json == changed.json()


async def test_an_admin_does_not_touch_other_staff(client: httpx.AsyncClient, world: World) -> None:
    """Accounts of admins and superadmins are a superadmin's to change and delete."""
    admin, colleague, boss = await world.admin(), await world.admin(), await world.superadmin()
    for other in (colleague, boss):
        where = f"{API}/users/{other.id}"
        assert (await client.get(where, headers=admin.headers)).status_code == 200
        assert_problem(await client.patch(where, json={"is_active": False}, headers=admin.headers), 403, "forbidden")
        assert_problem(await client.patch(where, json={"full_name": "X"}, headers=admin.headers), 403, "forbidden")
        assert_problem(await client.delete(where, headers=admin.headers), 403, "forbidden")
    assert (await client.delete(f"{API}/users/{colleague.id}", headers=boss.headers)).status_code == 204


async def test_nobody_locks_themselves_out(client: httpx.AsyncClient, world: World) -> None:
    """Own role, activity and existence can't be taken away by oneself; the own name can be changed."""
    boss = await world.superadmin()
    where = f"{API}/users/{boss.id}"
    for json in ({"is_active": False}, {"role": "client"}, {"role": "admin"}):
        assert_problem(await client.patch(where, json=json, headers=boss.headers), 409, "conflict")
    assert_problem(await client.delete(where, headers=boss.headers), 409, "conflict")
    assert (await client.patch(where, json={"full_name": "Me"}, headers=boss.headers)).status_code == 200


async def test_a_deleted_account_is_out_of_sight(client: httpx.AsyncClient, world: World) -> None:
    """204, then 404 for reading, changing and deleting, and the list is without it; the row stays."""
    admin, patient = await world.admin(), await world.person()
    where = f"{API}/users/{patient.id}"
    gone = await client.delete(where, headers=admin.headers)
    assert (gone.status_code, gone.content) == (204, b"")
    assert_problem(await client.get(where, headers=admin.headers), 404, "not_found")
    assert_problem(await client.patch(where, json={"full_name": "X"}, headers=admin.headers), 404, "not_found")
    assert_problem(await client.delete(where, headers=admin.headers), 404, "not_found")
    listed = (await client.get(f"{API}/users?count=true", headers=admin.headers)).json()
    assert ([one["id"] for one in listed["items"]], listed["total"]) == ([admin.id], 1)
    assert await world.scalar("SELECT count(*) FROM users") == 2


REFUSED: list[Any] = [
    {"email": "x@example.com"},
    {"password": PASSWORD},
    {"role": "king"},
    {"role": None},
    {"is_active": None},
    {"is_active": "maybe"},
    {"full_name": ""},
    {"id": 1},
    {"email_verified": True},
]


async def test_what_an_admin_can_not_change(client: httpx.AsyncClient, world: World) -> None:
    """E-mail, password and anything malformed are 422."""
    boss, patient = await world.superadmin(), await world.person()
    for json in REFUSED:
        refused = await client.patch(f"{API}/users/{patient.id}", json=json, headers=boss.headers)
        assert_problem(refused, 422, "validation_error")


async def test_two_superadmins_who_demote_each_other_leave_one(client: httpx.AsyncClient, world: World) -> None:
    """Of two mutual demotions at once one wins; there is always somebody left who may give roles."""
    one, two = await world.superadmin(), await world.superadmin()
    answers = await asyncio.gather(
        client.patch(f"{API}/users/{two.id}", json={"role": "client"}, headers=one.headers),
        client.patch(f"{API}/users/{one.id}", json={"role": "client"}, headers=two.headers),
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 403])
    assert await world.scalar("SELECT count(*) FROM users WHERE role = 'superadmin'") == 1


async def test_a_client_is_refused_before_the_body_is_looked_at(client: httpx.AsyncClient, world: World) -> None:
    """Who may not do a thing is told so, whatever the body: the schema of a staff route is not theirs to probe."""
    person = await world.person()
    for method, path in (("POST", "/users"), ("POST", "/doctors"), ("PUT", "/doctors/1/hours"), ("POST", "/reports")):
        assert_problem(await client.request(method, API + path, json={}, headers=person.headers), 403, "forbidden")
