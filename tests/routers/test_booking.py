"""What can be booked, by whom and when."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.services.container import Container
from tests.support import API, Person, World, assert_problem, clinic_time, next_weekday

DAY = next_weekday()
HOURS = [{"weekday": DAY.weekday(), "start": "09:00", "end": "12:15"}]
FIELDS = {"id", "doctor_id", "patient_id", "starts_at", "ends_at", "status", "reason", "created_at"}


@pytest.fixture
async def patient(world: World) -> Person:
    await world.doctor(hours=HOURS)
    return await world.person()


async def post(client: httpx.AsyncClient, who: Person, starts_at: str, **fields: Any) -> httpx.Response:
    json = {"doctor_id": 1, "starts_at": starts_at} | fields
    return await client.post(f"{API}/appointments", json=json, headers=who.headers)


async def test_a_booking_is_what_was_asked_for(
    client: httpx.AsyncClient, container: Container, patient: Person
) -> None:
    """The contract's fields, the doctor's slot length, the reason as given; an offset in the request is heeded."""
    local = datetime.combine(DAY, datetime.min.time(), container.settings.clinic.zone).replace(hour=9)
    booked = await post(client, patient, local.isoformat(), reason=" Knee, left 🦵 ", patient_id=patient.id)
    assert booked.status_code == 201
    body = booked.json()
    assert body.keys() == FIELDS
    assert (body["starts_at"], body["reason"]) == (clinic_time(container, DAY, "09:00"), "Knee, left 🦵")
    assert body["ends_at"] == clinic_time(container, DAY, "09:30")
    assert body["created_at"].endswith("Z")
    read = await client.get(booked.headers["location"], headers=patient.headers)
    assert (read.json(), read.headers["etag"]) == (body, booked.headers["etag"])


@pytest.mark.parametrize("clock", ["08:30", "08:59", "09:15", "12:00", "12:15", "23:30"])
async def test_only_a_slot_can_be_booked(
    client: httpx.AsyncClient, container: Container, patient: Person, clock: str
) -> None:
    """Before, after and between the slots, and where the last would not fit: 422 outside_hours."""
    assert_problem(await post(client, patient, clinic_time(container, DAY, clock)), 422, "outside_hours")
    other_day = clinic_time(container, DAY + timedelta(days=1), "09:00")
    assert_problem(await post(client, patient, other_day), 422, "outside_hours")


async def test_an_inactive_doctor_is_not_booked(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """422 outside_hours; a doctor who is not there is 404."""
    await world.execute("UPDATE doctors SET is_active = false")
    nine = clinic_time(container, DAY, "09:00")
    assert_problem(await post(client, patient, nine), 422, "outside_hours")
    assert_problem(await post(client, patient, nine, doctor_id=99), 404, "not_found")


async def test_what_is_taken_is_taken(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """The slot of a live appointment is 409 slot_taken for anyone, its owner too; so is a time that cuts into it."""
    first, second, doctor_id = await world.person(), await world.person(), await world.doctor(hours=HOURS)
    nine = clinic_time(container, DAY, "09:00")
    assert (await post(client, first, nine, doctor_id=doctor_id)).status_code == 201
    for who in (first, second):
        for clock in ("09:00", "09:10", "08:45"):
            taken = await post(client, who, clinic_time(container, DAY, clock), doctor_id=doctor_id)
            assert_problem(taken, 409, "slot_taken")
    assert (await post(client, second, clinic_time(container, DAY, "09:30"), doctor_id=doctor_id)).status_code == 201
    other = await world.doctor(hours=HOURS)
    assert (await post(client, second, nine, doctor_id=other)).status_code == 201


async def test_a_cancelled_appointment_frees_its_slot(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """After a cancellation and after a no-show the slot can be had again, after a completion it can't."""
    admin, nine = await world.admin(), clinic_time(container, DAY, "09:00")
    for step in ("cancel", "no-show", "complete"):
        booked = await post(client, patient, nine)
        assert booked.status_code == 201
        ended = await client.post(f"{booked.headers['location']}/{step}", headers=admin.headers)
        assert ended.status_code == 200
    assert_problem(await post(client, patient, nine), 409, "slot_taken")


async def test_the_past_is_over(client: httpx.AsyncClient, world: World) -> None:
    """A slot that has begun can't be booked: 422 that names the field."""
    patient, doctor_id = await world.person(), await world.doctor(slot_minutes=5)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    begun = now - timedelta(minutes=now.minute % 5)
    for past in (begun, begun - timedelta(days=1), begun - timedelta(days=4000)):
        refused = await post(client, patient, past.isoformat(), doctor_id=doctor_id)
        body = assert_problem(refused, 422, "validation_error")
        assert body["errors"][0]["loc"] == ["body", "starts_at"]
    soon = begun + timedelta(minutes=10)
    assert (await post(client, patient, soon.isoformat(), doctor_id=doctor_id)).status_code == 201


REFUSED: list[Any] = [
    {"doctor_id": 0},
    {"doctor_id": "1"},
    {"doctor_id": True},
    {"doctor_id": 2**63},
    {"doctor_id": None},
    {"starts_at": "2027-01-04T09:00:00"},
    {"starts_at": "2027-01-04"},
    {"starts_at": "9999-12-31T23:59:59Z"},
    {"starts_at": "2027-02-30T09:00:00Z"},
    {"starts_at": 1800000000},
    {"starts_at": None},
    {"reason": "x" * 2001},
    {"reason": "x\0"},
    {"reason": 5},
    {"patient_id": 0},
    {"status": "completed"},
    {"ends_at": "2027-01-04T10:00:00Z"},
]


async def test_a_booking_that_can_not_be(client: httpx.AsyncClient, world: World, patient: Person) -> None:
    """Malformed, out of range or with fields that nobody sets: 422 that names the field."""
    for fields in REFUSED:
        json = {"doctor_id": 1, "starts_at": "2027-01-04T09:00:00Z"} | fields
        refused = await client.post(f"{API}/appointments", json=json, headers=patient.headers)
        assert assert_problem(refused, 422, "validation_error")["errors"][0]["loc"] == ["body", *fields]
        assert await world.scalar("SELECT count(*) FROM appointments") == 0


async def test_who_books_for_whom(
    client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """A client for themselves alone; an admin names a patient who is there."""
    admin, gone = await world.admin(), await world.person()
    await world.execute("UPDATE users SET deleted_at = now() WHERE id = :id", id=gone.id)
    nine = clinic_time(container, DAY, "09:00")
    assert_problem(await post(client, patient, nine, patient_id=admin.id), 403, "forbidden")
    body = assert_problem(await post(client, admin, nine), 422, "validation_error")
    assert body["errors"][0]["loc"] == ["body", "patient_id"]
    for unknown in (999, gone.id):
        assert_problem(await post(client, admin, nine, patient_id=unknown), 404, "not_found")
    booked = await post(client, admin, nine, patient_id=patient.id)
    assert (booked.status_code, booked.json()["patient_id"]) == (201, patient.id)
    assert (await client.get(booked.headers["location"], headers=patient.headers)).status_code == 200


async def test_a_client_may_have_so_many_to_come(
    app: FastAPI, client: httpx.AsyncClient, world: World, container: Container, patient: Person
) -> None:
    """With CLINIC_MAX_BOOKED=2, of six at once two are made; a cancelled one makes room, and an admin needs none."""
    app.state.container = replace(container, appointments=replace(container.appointments, max_booked=2))
    clocks = ("09:00", "09:30", "10:00", "10:30", "11:00", "11:30")
    slots = [clinic_time(container, DAY, clock) for clock in clocks]
    answers = await asyncio.gather(*(post(client, patient, slot) for slot in slots))
    assert Counter(answer.status_code for answer in answers) == {201: 2, 409: 4}
    assert_problem(next(answer for answer in answers if answer.status_code == 409), 409, "too_many_booked")
    kept = next(answer for answer in answers if answer.status_code == 201)
    free = next(slot for slot, answer in zip(slots, answers, strict=True) if answer.status_code == 409)
    admin = await world.admin()
    assert (await post(client, admin, free, patient_id=patient.id)).status_code == 201
    assert_problem(await post(client, patient, slots[0]), 409, "too_many_booked")
    await client.post(f"{kept.headers['location']}/cancel", headers=patient.headers)
    await world.execute("DELETE FROM appointments WHERE starts_at = :at", at=datetime.fromisoformat(free))
    assert (await post(client, patient, free)).status_code == 201
