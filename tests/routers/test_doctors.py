"""Doctors and their weekly hours."""

from typing import Any

import httpx

from app.services.container import Container
from tests.support import API, World, assert_problem, clinic_time, next_weekday

FIELDS = {"id", "full_name", "specialty", "slot_minutes", "is_active", "photo", "hours", "created_at"}
WEEK = [
    {"weekday": 0, "start": "09:00", "end": "12:00"},
    {"weekday": 0, "start": "12:00", "end": "17:00"},
    {"weekday": 6, "start": "00:00", "end": "24:00"},
]


async def test_an_admin_makes_a_doctor_whom_anyone_sees(client: httpx.AsyncClient, world: World) -> None:
    """201 with place and tag; the doctor has the contract's fields, no photo and no hours yet."""
    admin = await world.admin()
    json = {"full_name": " Dr. Zoë 🩺 ", "specialty": "Surgery"}
    made = await client.post(f"{API}/doctors", json=json, headers=admin.headers)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    body = made.json()
    assert made.headers["location"] == f"{API}/doctors/{body['id']}"
    assert body.keys() == FIELDS
    assert body | {"full_name": "Dr. Zoë 🩺", "slot_minutes": 30, "is_active": True} == body
    assert (body["photo"], body["hours"]) == (None, [])
    read = await client.get(made.headers["location"])
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, body, '"1"')
    assert (await client.get(f"{API}/doctors")).json()["items"] == [body]


REFUSED: list[Any] = [
    {"full_name": ""},
    {"full_name": "x" * 201},
    {"full_name": None},
    {"full_name": "x\0"},
    {"specialty": " "},
    {"slot_minutes": 4},
    {"slot_minutes": 481},
    {"slot_minutes": 7.5},
    {"slot_minutes": "30"},
    {"slot_minutes": 10**40},
    {"slot_minutes": None},
    {"is_active": "yes"},
    {"id": 7},
    {"hours": []},
    {"photo": None},
]


async def test_what_makes_no_doctor(client: httpx.AsyncClient, world: World) -> None:
    """Values out of bounds and fields that are not to be set: 422 for POST and PATCH alike."""
    admin, doctor_id = await world.admin(), await world.doctor()
    for fields in REFUSED:
        json = {"full_name": "Dr. No", "specialty": "Islands"} | fields
        made = await client.post(f"{API}/doctors", json=json, headers=admin.headers)
        assert assert_problem(made, 422, "validation_error")["errors"][0]["loc"] == ["body", *fields]
        changed = await client.patch(f"{API}/doctors/{doctor_id}", json=fields, headers=admin.headers)
        assert_problem(changed, 422, "validation_error")
        assert await world.scalar("SELECT count(*) FROM doctors") == 1


async def test_a_patch_changes_what_it_names(client: httpx.AsyncClient, world: World) -> None:
    """The fields given change, the others stay, and each change raises the tag."""
    admin, doctor_id = await world.admin(), await world.doctor()
    where = f"{API}/doctors/{doctor_id}"
    expected = (await client.get(where)).json()
    changes: list[dict[str, Any]] = [{"full_name": "New"}, {"slot_minutes": 45, "specialty": "ENT"}]
    for number, json in enumerate([*changes, {"is_active": False}], 2):
        changed = await client.patch(where, json=json, headers=admin.headers)
        expected |= json
        assert (changed.status_code, changed.json(), changed.headers["etag"]) == (200, expected, f'"{number}"')


async def test_a_week_is_replaced(client: httpx.AsyncClient, world: World) -> None:
    """PUT answers the doctor with the new week in order, touching hours and 24:00 included; an empty one closes."""
    admin, doctor_id = await world.admin(), await world.doctor()
    where = f"{API}/doctors/{doctor_id}/hours"
    for week in (WEEK[::-1], [], WEEK):
        changed = await client.put(where, json=week, headers=admin.headers)
        assert changed.status_code == 200, changed.text
        assert changed.json()["hours"] == sorted(week, key=lambda one: (one["weekday"], one["start"]))
        read = await client.get(f"{API}/doctors/{doctor_id}")
        assert (read.json(), read.headers["etag"]) == (changed.json(), changed.headers["etag"])


WEEKS_REFUSED: list[Any] = [
    [{"weekday": 7, "start": "09:00", "end": "17:00"}],
    [{"weekday": -1, "start": "09:00", "end": "17:00"}],
    [{"weekday": "0", "start": "09:00", "end": "17:00"}],
    [{"weekday": 0.5, "start": "09:00", "end": "17:00"}],
    [{"weekday": 0, "start": "17:00", "end": "09:00"}],
    [{"weekday": 0, "start": "09:00", "end": "09:00"}],
    [{"weekday": 0, "start": "24:00", "end": "24:00"}],
    [{"weekday": 0, "start": "09:00", "end": "24:01"}],
    [{"weekday": 0, "start": "9:00", "end": "17:00"}],
    [{"weekday": 0, "start": "09:00:00", "end": "17:00"}],
    [{"weekday": 0, "start": "09:60", "end": "17:00"}],
    [{"weekday": 0, "start": "٠٩:٠٠", "end": "17:00"}],
    [{"weekday": 0, "start": "09:00\n", "end": "17:00:"}],
    [{"weekday": 0, "start": 9, "end": 17}],
    [{"weekday": 0, "start": "09:00"}],
    [{"weekday": 0, "start": "09:00", "end": "17:00", "room": 1}],
    [{"weekday": 0, "start": "09:00", "end": "12:01"}, {"weekday": 0, "start": "12:00", "end": "17:00"}],
    [{"weekday": 0, "start": "09:00", "end": "17:00"}, {"weekday": 0, "start": "10:00", "end": "11:00"}],
    [{"weekday": 0, "start": "09:00", "end": "17:00"}] * 2,
    [{"weekday": day % 7, "start": "09:00", "end": "17:00"} for day in range(100)],
    {"weekday": 0, "start": "09:00", "end": "17:00"},
    [None],
    None,
    "[]",
]


async def test_a_week_that_can_not_be(client: httpx.AsyncClient, world: World) -> None:
    """Unknown days, broken or reversed times, overlaps and too many rows: 422, and the old week stays."""
    admin, doctor_id = await world.admin(), await world.doctor(hours=WEEK)
    for week in WEEKS_REFUSED:
        refused = await client.put(f"{API}/doctors/{doctor_id}/hours", json=week, headers=admin.headers)
        assert_problem(refused, 422, "validation_error")
        assert (await client.get(f"{API}/doctors/{doctor_id}")).json()["hours"] == WEEK


async def test_a_doctor_with_future_appointments_stays(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """409 doctor_has_appointments while one is booked; a cancelled or past one does not hold the doctor. Turned off the
    doctor may be all the while, and the appointment stays."""
    admin, doctor_id = await world.admin(), await world.doctor()
    where = f"{API}/doctors/{doctor_id}"
    json = {
        "doctor_id": doctor_id,
        "patient_id": admin.id,
        "starts_at": clinic_time(container, next_weekday(), "09:00"),
    }
    booked = await client.post(f"{API}/appointments", json=json, headers=admin.headers)
    assert_problem(await client.delete(where, headers=admin.headers), 409, "doctor_has_appointments")
    assert (await client.patch(where, json={"is_active": False}, headers=admin.headers)).status_code == 200
    assert await world.scalar("SELECT status FROM appointments") == "booked"
    assert (await client.get(where)).status_code == 200
    await client.post(f"{booked.headers['location']}/cancel", headers=admin.headers)
    await world.execute(
        "INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at)"
        " VALUES (:d, :p, now() - interval '2 hours', now() - interval '1 hour')",
        d=doctor_id,
        p=admin.id,
    )
    gone = await client.delete(where, headers=admin.headers)
    assert (gone.status_code, gone.content) == (204, b"")


async def test_a_deleted_doctor_is_out_of_sight(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """404 for every route, not in the list, not bookable; the row and the appointments stay."""
    admin, patient, doctor_id = await world.admin(), await world.person(), await world.doctor()
    where = f"{API}/doctors/{doctor_id}"
    assert (await client.delete(where, headers=admin.headers)).status_code == 204
    away = {"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-02T00:00:00Z"}
    answers = [
        await client.get(where),
        await client.get(f"{where}/slots?from=2026-12-01&to=2026-12-02"),
        await client.patch(where, json={"full_name": "X"}, headers=admin.headers),
        await client.delete(where, headers=admin.headers),
        await client.put(f"{where}/hours", json=[], headers=admin.headers),
        await client.post(f"{where}/time-off", json=away, headers=admin.headers),
        await client.get(f"{where}/time-off", headers=admin.headers),
        await client.post(
            f"{API}/appointments",
            json={"doctor_id": doctor_id, "starts_at": clinic_time(container, next_weekday(), "09:00")},
            headers=patient.headers,
        ),
    ]
    for answer in answers:
        assert_problem(answer, 404, "not_found")
    assert (await client.get(f"{API}/doctors?count=true")).json() == {"items": [], "next_cursor": None, "total": 0}
    assert await world.scalar("SELECT count(*) FROM doctors") == 1
