"""Absences."""

from typing import Any

import httpx
import pytest

from app.services.container import Container
from tests.support import API, World, assert_problem, clinic_time, next_weekday


async def test_an_absence_is_made_listed_and_deleted(client: httpx.AsyncClient, world: World) -> None:
    """201 with its place, in UTC, where GET finds the same; DELETE there is 204 once, then 404, and 404 under another
    doctor."""
    admin, doctor_id, other = await world.admin(), await world.doctor(), await world.doctor()
    where = f"{API}/doctors/{doctor_id}/time-off"
    json = {"starts_at": "2027-01-01T10:00:00+02:00", "ends_at": "2027-01-02T00:00:00Z", "reason": "Holiday"}
    made = await client.post(where, json=json, headers=admin.headers)
    assert made.status_code == 201
    body = made.json()
    assert body.keys() == {"id", "doctor_id", "starts_at", "ends_at", "reason", "created_at"}
    assert (body["starts_at"], body["ends_at"]) == ("2027-01-01T08:00:00Z", "2027-01-02T00:00:00Z")
    assert made.headers["location"] == f"{where}/{body['id']}"
    assert (await client.get(where, headers=admin.headers)).json()["items"] == [body]
    found = await client.get(made.headers["location"], headers=admin.headers)
    assert (found.status_code, found.json(), found.headers["etag"]) == (200, body, made.headers["etag"])
    known = await client.get(found.request.url, headers=admin.headers | {"If-None-Match": found.headers["etag"]})
    assert known.status_code == 304
    elsewhere = f"{API}/doctors/{other}/time-off/{body['id']}"
    assert_problem(await client.get(elsewhere, headers=admin.headers), 404, "not_found")
    assert_problem(await client.delete(elsewhere, headers=admin.headers), 404, "not_found")
    assert (await client.delete(made.headers["location"], headers=admin.headers)).status_code == 204
    for ask in (client.get, client.delete):
        assert_problem(await ask(made.headers["location"], headers=admin.headers), 404, "not_found")


async def test_absences_go_out_of_sight_with_their_doctor(client: httpx.AsyncClient, world: World) -> None:
    """One that is past is still at its place; once the doctor is deleted neither it nor the list is there."""
    admin, doctor_id = await world.admin(), await world.doctor()
    where = f"{API}/doctors/{doctor_id}/time-off"
    json = {"starts_at": "2020-01-01T10:00:00Z", "ends_at": "2020-01-02T00:00:00Z"}
    made = await client.post(where, json=json, headers=admin.headers)
    assert (await client.get(made.headers["location"], headers=admin.headers)).json() == made.json()
    assert (await client.delete(f"{API}/doctors/{doctor_id}", headers=admin.headers)).status_code == 204
    for place in (where, made.headers["location"]):
        assert_problem(await client.get(place, headers=admin.headers), 404, "not_found")


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2027-01-10T09:00:00", "2027-01-10T08:00:00Z"),
        ("2027-07-10T09:00", "2027-07-10T07:00:00Z"),
        ("2027-03-28T02:30:00", "2027-03-28T01:00:00Z"),
        ("2027-10-31T02:30:00", "2027-10-31T00:30:00Z"),
    ],
)
async def test_a_time_without_offset_is_the_clinics(
    client: httpx.AsyncClient, world: World, local: str, expected: str
) -> None:
    """Read in the clinic's zone, summer and winter; one that the clock skips is the moment of the change."""
    admin, doctor_id = await world.admin(), await world.doctor()
    json = {"starts_at": local, "ends_at": "2028-01-01T00:00:00"}
    made = await client.post(f"{API}/doctors/{doctor_id}/time-off", json=json, headers=admin.headers)
    assert (made.json()["starts_at"], made.json()["ends_at"]) == (expected, "2027-12-31T23:00:00Z")


REFUSED: list[Any] = [
    {"starts_at": "2027-01-02T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"},
    {"starts_at": "2027-01-02T00:00:00Z", "ends_at": "2027-01-02T00:00:00Z"},
    {"starts_at": "2027-01-02T09:00:00", "ends_at": "2027-01-02T08:00:00Z"},
    {"starts_at": "2027-01-02T09:00:00Z"},
    {"starts_at": "2027-01-02T09:00:00Z", "ends_at": "9999-12-31T23:59:59"},
    {"starts_at": "2027-01-02T09:00:00Z", "ends_at": "9999-12-31T23:59:59-12:00"},
    {"starts_at": "0001-01-01T00:00:00", "ends_at": "2027-01-02T09:00:00Z"},
    {"starts_at": "0001-01-01T00:00:00+14:00", "ends_at": "2027-01-02T09:00:00Z"},
    {"starts_at": 1800000000, "ends_at": 1900000000},
    {"starts_at": "soon", "ends_at": "later"},
    {"starts_at": "2027-01-02T09:00:00Z", "ends_at": "2027-01-03T09:00:00Z", "reason": "x" * 2001},
    {"starts_at": "2027-01-02T09:00:00Z", "ends_at": "2027-01-03T09:00:00Z", "doctor_id": 2},
]


async def test_an_absence_that_can_not_be(client: httpx.AsyncClient, world: World) -> None:
    """Backwards, empty, out of range or malformed: 422."""
    admin, doctor_id = await world.admin(), await world.doctor()
    for json in REFUSED:
        refused = await client.post(f"{API}/doctors/{doctor_id}/time-off", json=json, headers=admin.headers)
        assert_problem(refused, 422, "validation_error")
        assert await world.scalar("SELECT count(*) FROM time_off") == 0


async def test_an_absence_stops_new_bookings_only(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """An appointment in the span stays as it was; a new one there is 422 outside_hours, and bookable again after."""
    admin, patient, doctor_id = await world.admin(), await world.person(), await world.doctor()
    day = next_weekday()

    async def book(clock: str) -> httpx.Response:
        json = {"doctor_id": doctor_id, "starts_at": clinic_time(container, day, clock)}
        return await client.post(f"{API}/appointments", json=json, headers=patient.headers)

    booked = await book("09:00")
    span = {"starts_at": f"{day}T08:45:00", "ends_at": f"{day}T10:15:00"}
    away = await client.post(f"{API}/doctors/{doctor_id}/time-off", json=span, headers=admin.headers)
    kept = await client.get(booked.headers["location"], headers=patient.headers)
    assert kept.json() == booked.json()
    for clock in ("08:30", "09:30", "10:00"):
        assert_problem(await book(clock), 422, "outside_hours")
    assert_problem(await book("09:00"), 409, "slot_taken")
    assert [(await book(clock)).status_code for clock in ("08:00", "10:30")] == [201, 201]
    await client.delete(away.headers["location"], headers=admin.headers)
    assert (await book("09:30")).status_code == 201
