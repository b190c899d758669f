"""What is about somebody without naming their account, and what of others is near it."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.core.database import sqlstate
from app.core.errors import Conflict
from app.integrations.storage import LocalStorage
from app.services.container import Container
from app.services.erasure import ErasureService
from app.services.personal_data_commands import export
from tests.support import API, PASSWORD, Person, World, clinic_time, next_weekday

ADDRESS, OLD = "zelda@example.com", "zelda.before@example.com"
RESET = "mail.password_reset"


@pytest.fixture
def erasure(container: Container, tmp_path: Path) -> ErasureService:
    return ErasureService(container.database, LocalStorage(tmp_path), container.appointments, container.orders)


async def reset_job(world: World, email: str, *, ago: str = "0 s", status: str = "succeeded") -> None:
    await world.execute(
        "INSERT INTO jobs (name, queue, payload, status, max_attempts, created_at, lease_token, lease_expires_at)"
        " VALUES (:name, 'io', jsonb_build_object('email', CAST(:email AS text)), CAST(:status AS text), 5,"
        " now() - CAST(CAST(:ago AS text) AS interval),"
        " CASE WHEN :running THEN gen_random_uuid() END, CASE WHEN :running THEN now() + interval '1 h' END)",
        name=RESET,
        email=email,
        status=status,
        ago=ago,
        running=status == "running",
    )


async def told(world: World) -> list[str]:
    """The addresses in jobs that reset passwords."""
    rows = await world.rows("SELECT payload ->> 'email' AS email FROM jobs WHERE name = :name ORDER BY id", name=RESET)
    return [row.email for row in rows]


async def changed(world: World, person: Person, *, ago: str) -> None:
    """The account had another address until so long ago."""
    await world.execute(
        "INSERT INTO audit_events (at, actor_type, action, object_type, object_id, changes)"
        " VALUES (now() - CAST(CAST(:ago AS text) AS interval), 'anonymous', 'email.changed', 'user', :id,"
        " jsonb_build_object('email', jsonb_build_object('from', CAST(:old AS text), 'to', CAST(:new AS text))))",
        ago=ago,
        id=person.id,
        old=OLD,
        new=ADDRESS,
    )


async def test_jobs_to_earlier_addresses_go(world: World, erasure: ErasureService) -> None:
    """A job that names an address which the account had before goes with it, whenever it was asked for."""
    person = await world.person(email=ADDRESS)
    await changed(world, person, ago="1 day")
    for email in (OLD.upper(), OLD, ADDRESS, "other@example.com"):
        await reset_job(world, email)
    done = await erasure.erase(str(person.id))
    assert done.counts["jobs"] == 3
    assert await told(world) == ["other@example.com"]


async def test_jobs_of_the_next_holder_of_an_address_stay(world: World, erasure: ErasureService) -> None:
    """Who has the address now keeps what was asked for since; before the change it was the erased one's."""
    person = await world.person(email=ADDRESS)
    await world.execute("UPDATE users SET created_at = now() - interval '9 days' WHERE id = :id", id=person.id)
    await changed(world, person, ago="1 day")
    await world.person(email=OLD)
    await reset_job(world, OLD, ago="2 days")
    await reset_job(world, OLD)
    done = await erasure.erase(str(person.id))
    assert (done.counts["jobs"], await told(world)) == (1, [OLD])


async def test_a_running_job_names_nobody_and_goes_the_next_time(world: World, erasure: ErasureService) -> None:
    """The address is out of a job that runs at once, and the repetition by id finds the job all the same."""
    person = await world.person(email=ADDRESS)
    await reset_job(world, ADDRESS, status="running")
    assert (await erasure.erase(ADDRESS)).left == 1
    assert await told(world) == [f"erased-{person.id}@erased.invalid"]
    await world.execute("UPDATE jobs SET status = 'succeeded', lease_token = NULL, lease_expires_at = NULL")
    assert (await erasure.erase(str(person.id))).counts["jobs"] == 1
    assert await told(world) == []


async def test_stored_answers_about_the_erased_are_not_given_again(
    client: httpx.AsyncClient, world: World, erasure: ErasureService
) -> None:
    """Neither an admin's answer to making the account, nor that to registering, nor one with a patient's reason."""
    admin = await world.superadmin()
    new = {"email": ADDRESS, "password": PASSWORD, "full_name": "Zelda Quux"}
    key = {"Idempotency-Key": "k"}
    made = await client.post(f"{API}/users", json=new, headers=admin.headers | key)
    registered = await client.post(f"{API}/auth/register", json=new, headers=key)
    assert (made.status_code, registered.status_code) == (201, 202)
    starts_at = clinic_time(world.container, next_weekday(), "09:00")
    booking = {"doctor_id": await world.doctor(), "patient_id": made.json()["id"], "starts_at": starts_at}
    booked = await client.post(f"{API}/appointments", json=booking | {"reason": "a rash"}, headers=admin.headers | key)
    assert booked.status_code == 201
    patient = await world.person()
    own = {"doctor_id": await world.doctor(), "starts_at": starts_at}
    await client.post(f"{API}/appointments", json=own, headers=patient.headers | key)
    assert (await erasure.erase(ADDRESS)).counts["idempotency_keys"] == 3
    for path, body, headers in (
        ("/users", new, admin.headers),
        ("/auth/register", new, {}),
        ("/appointments", booking | {"reason": "a rash"}, admin.headers),
    ):
        again = await client.post(f"{API}{path}", json=body, headers=headers | key)
        assert "idempotency-replayed" not in again.headers, path
    assert not any((await erasure.erase(str(made.json()["id"]))).counts.values()), "what came since is of others"
    replayed = await client.post(f"{API}/appointments", json=own, headers=patient.headers | key)
    assert replayed.headers["idempotency-replayed"] == "true"


async def test_an_address_of_several_accounts_is_refused(world: World, erasure: ErasureService) -> None:
    """A deleted account and its successor: both are named, nothing is done, and each is erased by its id."""
    first = await world.person(email=ADDRESS)
    await world.execute("UPDATE users SET deleted_at = now(), is_active = false WHERE id = :id", id=first.id)
    second = await world.person(email=ADDRESS)
    with pytest.raises(Conflict) as refused:
        await erasure.erase(ADDRESS)
    for one in (first, second):
        assert f"{one.id} (made " in str(refused.value.detail)
    assert await world.scalar("SELECT count(*) FROM users WHERE email = :email", email=ADDRESS) == 2
    await erasure.erase(str(first.id))
    assert (await erasure.erase(ADDRESS)).user_id == second.id


async def test_the_record_forgets_names_of_the_erased_alone(world: World) -> None:
    """The database blanks the address and name of a shell and nothing else, whoever asks and whatever they set."""
    person = await world.person(email=ADDRESS)
    await changed(world, person, ago="1 day")
    for statement in (
        "SELECT forget_in_audit_events(:id)",
        "UPDATE audit_events SET changes = '{}' WHERE object_id = :id",
    ):
        with pytest.raises(DBAPIError) as refused:
            await world.execute(statement, id=person.id)
        assert sqlstate(refused.value) == "42501"
    await world.execute(
        "UPDATE users SET email = 'erased-' || id || '@erased.invalid', deleted_at = now() WHERE id = :id", id=person.id
    )
    await world.execute(
        "INSERT INTO audit_events (actor_type, action, object_type, object_id, changes)"
        """ VALUES ('system', 'x', 'doctor', :id, '{"full_name": "Dr. No"}')""",
        id=person.id,
    )
    blanked = """changes = changes || '{"email": "erased"}'"""
    for change in ("action = 'x'", "changes = '{}'", f"{blanked}, object_id = 0", f"{blanked}, at = now()"):
        with pytest.raises(DBAPIError):
            await world.execute(
                f"DO $$ BEGIN PERFORM set_config('frontdesk.erasing', 'on', true);"
                f" UPDATE audit_events SET {change} WHERE object_type = 'user'; END $$"
            )
    await world.execute("SELECT forget_in_audit_events(:id)", id=person.id)
    assert await world.scalar("SELECT forget_in_audit_events(:id)", id=person.id) == 0
    rows = await world.rows("SELECT changes FROM audit_events ORDER BY id")
    assert [row.changes for row in rows] == [{"email": "erased"}, {"full_name": "Dr. No"}]


async def test_an_export_of_staff_has_nothing_of_others(
    client: httpx.AsyncClient, world: World, settings: Settings, tmp_path: Path
) -> None:
    """Of what somebody only did there is what and when; what was done to them is whole."""
    admin = await world.superadmin()
    new = {"email": ADDRESS, "password": PASSWORD, "full_name": "Zelda Quux"}
    made = await client.post(f"{API}/users", json=new, headers=admin.headers)
    path = f"{API}/users/{admin.id}"
    await client.patch(path, json={"full_name": "Ada Admin"}, headers=admin.headers)
    starts_at = clinic_time(world.container, next_weekday(), "09:00")
    booking = {"doctor_id": await world.doctor(), "patient_id": made.json()["id"], "starts_at": starts_at}
    await client.post(f"{API}/appointments", json=booking | {"reason": "a rash"}, headers=admin.headers)
    file = tmp_path / "staff.json"
    await export(settings, str(admin.id), file)
    text = file.read_text()
    for foreign in (ADDRESS, "Zelda", "a rash"):
        assert foreign not in text
    data: dict[str, list[dict[str, Any]]] = json.loads(text)["data"]
    events = {event["action"]: event for event in data["audit_events"]}
    assert events["user.created"].keys() == {"id", "at", "actor_type", "actor_id", "action", "object_type", "address"}
    assert events["user.updated"]["changes"]["full_name"]["to"] == "Ada Admin"
    assert data["jobs"]
    assert all(job.keys() == {"id", "name", "status", "created_at", "finished_at"} for job in data["jobs"])
