"""Free slots."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI

from app.services.container import Container
from app.services.doctors import DoctorService
from tests.support import API, World, assert_problem, clinic_time, next_weekday

MORNINGS = [{"weekday": day, "start": "09:00", "end": "11:00"} for day in range(7)]
NIGHTS = [{"weekday": day, "start": "00:00", "end": "04:00"} for day in range(7)]


async def starts(client: httpx.AsyncClient, doctor_id: int, first: date, last: date) -> list[str]:
    response = await client.get(f"{API}/doctors/{doctor_id}/slots?from={first}&to={last}")
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"items"}
    items = response.json()["items"]
    assert all(item.keys() == {"starts_at", "ends_at"} for item in items)
    return [item["starts_at"] for item in items]


def last_sunday(year: int, month: int) -> date:
    day = date(year, month, 31)
    return day - timedelta(days=(day.weekday() + 1) % 7)


async def test_anyone_sees_the_free_slots(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Each day from `from` up to but without `to`, in the clinic's zone, cut by the doctor's slot length."""
    doctor_id = await world.doctor(hours=MORNINGS, slot_minutes=45)
    day = next_weekday()
    clocks = [(day + timedelta(days=n), clock) for n in range(2) for clock in ("09:00", "09:45")]
    expected = [clinic_time(container, when, clock) for when, clock in clocks]
    assert await starts(client, doctor_id, day, day + timedelta(days=2)) == expected
    assert await starts(client, doctor_id, day, day + timedelta(days=1)) == expected[:2]
    first = (await client.get(f"{API}/doctors/{doctor_id}/slots?from={day}&to={day + timedelta(days=1)}")).json()
    begin, end = (datetime.fromisoformat(first["items"][0][name]) for name in ("starts_at", "ends_at"))
    assert end - begin == timedelta(minutes=45)


async def test_what_is_taken_is_not_offered(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """A booked slot and those that an absence touches are left out; cancelled and moved ones come back."""
    admin, patient = await world.admin(), await world.person()
    doctor_id, day = await world.doctor(hours=MORNINGS), next_weekday()
    clocks = ("09:00", "09:30", "10:00", "10:30")
    at = {clock: clinic_time(container, day, clock) for clock in clocks}

    async def offered() -> list[str]:
        found = await starts(client, doctor_id, day, day + timedelta(days=1))
        return [clock for clock in clocks if at[clock] in found]

    assert await offered() == list(clocks)
    json = {"doctor_id": doctor_id, "starts_at": at["09:30"]}
    booked = await client.post(f"{API}/appointments", json=json, headers=patient.headers)
    assert await offered() == ["09:00", "10:00", "10:30"]
    await client.patch(booked.headers["location"], json={"starts_at": at["10:00"]}, headers=patient.headers)
    assert await offered() == ["09:00", "09:30", "10:30"]
    span = {"starts_at": f"{day}T10:45:00", "ends_at": f"{day}T10:50:00"}
    away = await client.post(f"{API}/doctors/{doctor_id}/time-off", json=span, headers=admin.headers)
    assert await offered() == ["09:00", "09:30"]
    await client.post(f"{booked.headers['location']}/cancel", headers=patient.headers)
    await client.delete(away.headers["location"], headers=admin.headers)
    assert await offered() == list(clocks)


async def test_what_is_over_is_not_offered(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Of today only slots that are still to start are offered, of yesterday none."""
    doctor_id = await world.doctor()
    now = datetime.now(UTC)
    today = now.astimezone(container.settings.clinic.zone).date()
    assert await starts(client, doctor_id, today - timedelta(days=2), today) == []
    found = await starts(client, doctor_id, today, today + timedelta(days=2))
    assert found
    assert all(datetime.fromisoformat(one) > now for one in found)
    assert datetime.fromisoformat(found[0]) - datetime.now(UTC) <= timedelta(minutes=30)


async def test_an_inactive_doctor_offers_none(client: httpx.AsyncClient, world: World) -> None:
    """Inactive or without hours: an empty list; unknown: 404."""
    day = next_weekday()
    for doctor_id in (await world.doctor(is_active=False), await world.doctor(hours=[])):
        assert await starts(client, doctor_id, day, day + timedelta(days=7)) == []
    assert_problem(await client.get(f"{API}/doctors/99/slots?from={day}&to={day}"), 422, "validation_error")
    unknown = await client.get(f"{API}/doctors/99/slots?from={day}&to={day + timedelta(days=1)}")
    assert_problem(unknown, 404, "not_found")


async def test_both_changes_of_the_clock(client: httpx.AsyncClient, world: World) -> None:
    """Berlin's night hours 00:00 to 04:00 have six half hours in spring and ten in autumn, each bookable once."""
    patient, doctor_id = await world.person(), await world.doctor(hours=NIGHTS)
    year = datetime.now(UTC).year + 1
    for day, number in ((last_sunday(year, 3), 6), (last_sunday(year, 10), 10), (date(year, 6, 6), 8)):
        found = await starts(client, doctor_id, day, day + timedelta(days=1))
        assert (len(found), len(set(found))) == (number, number)
        for one in found:
            json = {"doctor_id": doctor_id, "starts_at": one}
            booked = await client.post(f"{API}/appointments", json=json, headers=patient.headers)
            assert booked.status_code == 201, (one, booked.text)
        assert await starts(client, doctor_id, day, day + timedelta(days=1)) == []


async def test_a_day_without_its_midnight(
    client: httpx.AsyncClient, world: World, container: Container, app: FastAPI
) -> None:
    """Where the clock jumps from midnight to one, that day has 23 hours of slots, the days beside it 24."""
    app.state.container = replace(container, doctors=DoctorService(ZoneInfo("Asia/Beirut")))
    doctor_id = await world.doctor(slot_minutes=60)
    day = last_sunday(datetime.now(UTC).year + 1, 3)
    counts = []
    for offset in (-1, 0, 1):
        first = day + timedelta(days=offset)
        counts.append(len(await starts(client, doctor_id, first, first + timedelta(days=1))))
    assert counts == [24, 23, 24]
    whole = await starts(client, doctor_id, day - timedelta(days=1), day + timedelta(days=2))
    assert len(set(whole)) == 71


REFUSED: list[Any] = [
    "",
    "from=2027-01-01",
    "to=2027-01-02",
    "from=2027-01-02&to=2027-01-01",
    "from=2027-01-01&to=2027-03-05",
    "from=2027-01-01&to=9999-12-31",
    "from=9999-12-30&to=9999-12-31",
    "from=0001-01-01&to=0001-01-02",
    "from=2027-02-30&to=2027-03-01",
    "from=2027-01-01T00:00:00Z&to=2027-01-02",
    "from=1800000000&to=1800086400",
    "from=today&to=tomorrow",
    "from=2027-01-01&to=2027-01-02&doctor=1",
]


async def test_a_range_that_can_not_be(client: httpx.AsyncClient, world: World) -> None:
    """Missing, reversed, longer than 62 days, out of the calendar or with an unknown parameter: 422."""
    doctor_id = await world.doctor()
    for query in REFUSED:
        assert_problem(await client.get(f"{API}/doctors/{doctor_id}/slots?{query}"), 422, "validation_error")


async def test_sixty_two_days_are_the_most(client: httpx.AsyncClient, world: World) -> None:
    """62 days are answered in one list, whatever lies in between."""
    doctor_id, day = await world.doctor(hours=MORNINGS), next_weekday()
    assert len(await starts(client, doctor_id, day, day + timedelta(days=62))) == 62 * 4
    too_long = await client.get(f"{API}/doctors/{doctor_id}/slots?from={day}&to={day + timedelta(days=63)}")
    assert_problem(too_long, 422, "validation_error")
