"""Moving and ending appointments, and who may."""

import asyncio
from datetime import datetime

import httpx
import pytest

from app.schemas.messages.mails import AppointmentMail, SendAppointmentMail
from app.services.container import Container
from tests.support import API, Person, World, assert_problem, clinic_time, next_weekday

DAY = next_weekday()
STEPS = {"cancel": "cancelled", "complete": "completed", "no-show": "no_show"}


async def book(client: httpx.AsyncClient, container: Container, who: Person, clock: str = "09:00") -> str:
    """Where the new appointment is."""
    json = {"doctor_id": 1, "starts_at": clinic_time(container, DAY, clock)}
    booked = await client.post(f"{API}/appointments", json=json, headers=who.headers)
    assert booked.status_code == 201, booked.text
    where: str = booked.headers["location"]
    return where


async def begin(world: World) -> None:
    """Let every appointment have begun a minute ago."""
    await world.execute(
        "UPDATE appointments SET starts_at = now() - interval '1 minute', ends_at = now() + interval '29 minutes'"
    )


@pytest.fixture
async def patient(world: World) -> Person:
    await world.doctor()
    return await world.person()


async def test_an_appointment_is_moved(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """It keeps its identity, gets the new time and a new tag, its old slot is free, and the patient is mailed."""
    where = await book(client, container, patient)
    ten = clinic_time(container, DAY, "10:00")
    before = (await client.get(where, headers=patient.headers)).json()
    moved = await client.patch(where, json={"starts_at": ten}, headers=patient.headers)
    expected = before | {"starts_at": ten, "ends_at": clinic_time(container, DAY, "10:30")}
    assert (moved.status_code, moved.json(), moved.headers["etag"]) == (200, expected, '"2"')
    await world.assert_enqueued(
        SendAppointmentMail, kind=AppointmentMail.RESCHEDULED, starts_at=datetime.fromisoformat(ten)
    )
    await book(client, container, patient, "09:00")


async def test_a_move_to_where_it_is_changes_nothing(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """The same time again keeps the tag and sends no mail."""
    where = await book(client, container, patient)
    nine = clinic_time(container, DAY, "09:00")
    moved = await client.patch(where, json={"starts_at": nine}, headers=patient.headers)
    assert (moved.status_code, moved.headers["etag"]) == (200, '"1"')
    assert len(await world.enqueued(SendAppointmentMail)) == 1


async def test_it_may_move_onto_its_own_time(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """A new slot that overlaps the old one of the same appointment is free for it, though not for another."""
    where = await book(client, container, patient, "09:00")
    await world.execute("UPDATE doctors SET slot_minutes = 20")
    twenty = {"starts_at": clinic_time(container, DAY, "09:20")}
    json = {"doctor_id": 1, **twenty}
    taken = await client.post(f"{API}/appointments", json=json, headers=patient.headers)
    assert_problem(taken, 409, "slot_taken")
    moved = await client.patch(where, json=twenty, headers=patient.headers)
    assert (moved.status_code, moved.json()["ends_at"]) == (200, clinic_time(container, DAY, "09:40"))


async def test_where_it_can_not_move(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """A taken slot is 409, a time between slots or in the past 422, another field 422; the appointment stays."""
    where = await book(client, container, patient)
    await book(client, container, patient, "10:00")
    before = (await client.get(where, headers=patient.headers)).json()
    for clock, status, code in (
        ("10:00", 409, "slot_taken"),
        ("10:10", 409, "slot_taken"),
        ("11:10", 422, "outside_hours"),
        ("09:10", 422, "outside_hours"),
    ):
        json = {"starts_at": clinic_time(container, DAY, clock)}
        assert_problem(await client.patch(where, json=json, headers=patient.headers), status, code)
    for broken in ({"starts_at": "2020-01-01T09:00:00Z"}, {}, {"starts_at": None}, {"status": "completed"}):
        assert_problem(await client.patch(where, json=broken, headers=patient.headers), 422, "validation_error")
    assert (await client.get(where, headers=patient.headers)).json() == before


@pytest.mark.parametrize("step", STEPS)
async def test_each_end_is_final(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person, step: str
) -> None:
    """From booked each step leads to its status; from there every step and every move is 409 invalid_transition."""
    admin = await world.admin()
    where = await book(client, container, patient)
    ended = await client.post(f"{where}/{step}", headers=admin.headers)
    assert (ended.status_code, ended.json()["status"], ended.headers["etag"]) == (200, STEPS[step], '"2"')
    for again in STEPS:
        refused = await client.post(f"{where}/{again}", headers=admin.headers)
        assert_problem(refused, 409, "invalid_transition")
    json = {"starts_at": clinic_time(container, DAY, "10:00")}
    assert_problem(await client.patch(where, json=json, headers=admin.headers), 409, "invalid_transition")
    assert (await client.get(where, headers=patient.headers)).json() == ended.json()
    mails = [one.kind for one in await world.enqueued(SendAppointmentMail)]
    assert mails == [AppointmentMail.BOOKED] + [AppointmentMail.CANCELLED] * (step == "cancel")


async def test_a_client_cancels_and_no_more(client: httpx.AsyncClient, container: Container, patient: Person) -> None:
    """What took place is the staff's to say: complete and no-show are 403 for a client, cancel is not."""
    where = await book(client, container, patient)
    for step in ("complete", "no-show"):
        assert_problem(await client.post(f"{where}/{step}", headers=patient.headers), 403, "forbidden")
    assert (await client.post(f"{where}/cancel", headers=patient.headers)).status_code == 200


async def test_once_begun_it_is_the_staffs(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """After the start a client may neither cancel nor move; an admin may do both."""
    admin, where = await world.admin(), await book(client, container, patient)
    await begin(world)
    json = {"starts_at": clinic_time(container, DAY, "10:00")}
    assert_problem(await client.post(f"{where}/cancel", headers=patient.headers), 403, "forbidden")
    assert_problem(await client.patch(where, json=json, headers=patient.headers), 403, "forbidden")
    assert (await client.get(where, headers=patient.headers)).status_code == 200
    assert (await client.patch(where, json=json, headers=admin.headers)).status_code == 200
    await begin(world)
    assert (await client.post(f"{where}/complete", headers=admin.headers)).status_code == 200


async def test_anothers_appointment_is_not_there(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """404 for every route, the same as for one that does not exist, and in no list or count; an admin sees all."""
    stranger, admin = await world.person(), await world.admin()
    where = await book(client, container, patient)
    own = await client.post(f"{API}/appointments", json={}, headers=stranger.headers)
    assert own.status_code == 422
    json = {"starts_at": clinic_time(container, DAY, "10:00")}
    for path in (where, f"{API}/appointments/999"):
        answers = [
            await client.get(path, headers=stranger.headers),
            await client.get(path, headers=stranger.headers | {"If-None-Match": "*"}),
            await client.patch(path, json=json, headers=stranger.headers),
            await client.patch(path, json=json, headers=stranger.headers | {"If-Match": '"9"'}),
            *[await client.post(f"{path}/{step}", headers=stranger.headers) for step in STEPS],
        ]
        for answer in answers:
            assert_problem(answer, 404, "not_found")
    for query in ("", f"&patient_id={patient.id}", "&doctor_id=1"):
        listed = await client.get(f"{API}/appointments?count=true{query}", headers=stranger.headers)
        assert listed.json() == {"items": [], "next_cursor": None, "total": 0}
        seen = await client.get(f"{API}/appointments?count=true{query}", headers=admin.headers)
        assert (len(seen.json()["items"]), seen.json()["total"]) == (1, 1)
    mine = await client.get(f"{API}/appointments", headers=patient.headers)
    assert [one["patient_id"] for one in mine.json()["items"]] == [patient.id]


async def test_rival_steps_end_it_once(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """Cancel, complete and no-show at once, several times over: one wins, the rest are 409, one mail at most."""
    admin, where = await world.admin(), await book(client, container, patient)
    answers = await asyncio.gather(*(client.post(f"{where}/{step}", headers=admin.headers) for step in [*STEPS] * 4))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    winner = next(answer for answer in answers if answer.status_code == 200)
    assert (await client.get(where, headers=patient.headers)).json() == winner.json()
    cancelled = [one for one in await world.enqueued(SendAppointmentMail) if one.kind is AppointmentMail.CANCELLED]
    assert len(cancelled) == (winner.json()["status"] == "cancelled")
