"""Bookings that run into each other."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import httpx
from sqlalchemy import text

from app.services.container import Container
from tests.support import API, World, clinic_time, eventually, next_weekday, waiting_for_lock

DAY = next_weekday()


async def overlaps(world: World) -> int:
    """How many pairs of live appointments of one doctor overlap."""
    pairs = (
        "SELECT count(*) FROM appointments a JOIN appointments b ON a.doctor_id = b.doctor_id AND a.id < b.id"
        " AND a.starts_at < b.ends_at AND b.starts_at < a.ends_at"
        " AND a.status IN ('booked', 'completed') AND b.status IN ('booked', 'completed')"
    )
    return int(await world.scalar(pairs))


async def test_swapping_moves_never_overlap(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Appointments that all move at once onto each other's and onto free slots end without overlap or 5xx."""
    patient, doctor_id = await world.person(), await world.doctor()
    clocks = [f"{9 + number // 2:02}:{number % 2 * 30:02}" for number in range(8)]
    places = []
    for clock in clocks[:6]:
        json = {"doctor_id": doctor_id, "starts_at": clinic_time(container, DAY, clock)}
        places.append(
            (await client.post(f"{API}/appointments", json=json, headers=patient.headers)).headers["location"]
        )
    moves = [(where, clocks[(index + step) % 8]) for step in (1, 2, 3) for index, where in enumerate(places)]
    answers = await asyncio.gather(
        *(
            client.patch(where, json={"starts_at": clinic_time(container, DAY, clock)}, headers=patient.headers)
            for where, clock in moves
        )
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert any(answer.status_code == 200 for answer in answers)
    assert await overlaps(world) == 0
    assert await world.scalar("SELECT count(*) FROM appointments WHERE status = 'booked'") == 6


async def test_a_doctor_is_not_deleted_under_a_booking(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """A booking and the doctor's deletion at once: either the appointment stands or the doctor is gone, never both."""
    admin, patient = await world.admin(), await world.person()
    for _ in range(8):
        doctor_id = await world.doctor()
        json = {"doctor_id": doctor_id, "starts_at": clinic_time(container, DAY, "09:00")}
        booked, deleted = await asyncio.gather(
            client.post(f"{API}/appointments", json=json, headers=patient.headers),
            client.delete(f"{API}/doctors/{doctor_id}", headers=admin.headers),
        )
        assert (booked.status_code, deleted.status_code) in {(201, 409), (404, 204)}


async def test_slots_of_changing_length_never_overlap(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """While the slot length changes between bookings that run at once, the database still holds no overlap."""
    admin, patient, doctor_id = await world.admin(), await world.person(), await world.doctor()
    times = [clinic_time(container, DAY, f"{9 + n // 4:02}:{n % 4 * 15:02}") for n in range(16)]

    async def book(starts_at: str) -> int:
        json = {"doctor_id": doctor_id, "starts_at": starts_at}
        return (await client.post(f"{API}/appointments", json=json, headers=patient.headers)).status_code

    async def change(minutes: int) -> int:
        json = {"slot_minutes": minutes}
        return (await client.patch(f"{API}/doctors/{doctor_id}", json=json, headers=admin.headers)).status_code

    work = [change(minutes) for minutes in (15, 45, 20, 60, 15)]
    statuses = await asyncio.gather(*work, *(book(one) for one in times))
    assert set(statuses) <= {200, 201, 409, 422}
    assert await overlaps(world) == 0


async def test_the_database_itself_refuses(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """A row that another process inserts while a booking is under way makes that booking 409, not a double one."""
    patient, doctor_id = await world.person(), await world.doctor()
    nine = clinic_time(container, DAY, "09:00")
    insert = "INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at) VALUES (:d, :p, :start, :end)"
    start = datetime.fromisoformat(nine)
    async with world.database.engine.begin() as rival:
        await rival.execute(
            text(insert), {"d": doctor_id, "p": patient.id, "start": start, "end": start + timedelta(minutes=30)}
        )
        json = {"doctor_id": doctor_id, "starts_at": nine}
        task = asyncio.create_task(client.post(f"{API}/appointments", json=json, headers=patient.headers))
        await eventually(lambda: waiting_for_lock(world), seconds=1.5, every=0.01)
    answer = await task
    assert (answer.status_code, answer.json()["code"]) == (409, "slot_taken")
    assert await overlaps(world) == 0


async def test_a_days_slots_go_to_as_many(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Forty clients race for twelve slots: each slot goes to one client, and all twelve go."""
    people, doctor_id = [await world.person() for _ in range(40)], await world.doctor()
    clocks = [f"{9 + n // 2:02}:{n % 2 * 30:02}" for n in range(12)]

    async def book(index: int) -> int:
        json = {"doctor_id": doctor_id, "starts_at": clinic_time(container, DAY, clocks[index % 12])}
        headers = people[index].headers
        return (await client.post(f"{API}/appointments", json=json, headers=headers)).status_code

    statuses = await asyncio.gather(*(book(index) for index in range(40)))
    assert sorted(statuses) == [201] * 12 + [409] * 28
    times = [row.starts_at for row in await world.rows("SELECT starts_at FROM appointments ORDER BY starts_at")]
    assert all(after - before == timedelta(minutes=30) for before, after in pairwise(times))
    assert await world.scalar("SELECT count(*) FROM jobs") == 12
