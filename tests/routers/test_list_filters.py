"""Filters of the lists, operator by operator."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from app.core.enums import AppointmentStatus
from app.models import Appointment
from tests.support import API, Person, World, assert_problem

FIRST = datetime(2027, 1, 4, 8, tzinfo=UTC)


async def ids(client: httpx.AsyncClient, path: str, query: str, who: Person | None = None) -> list[int]:
    response = await client.get(f"{API}{path}?{query}&limit=100", headers=who.headers if who else {})
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


OF_DOCTORS: list[Any] = [
    ("specialty=Cardiology", [1, 3]),
    ("specialty__ne=Cardiology", [2, 4]),
    ("specialty__in=Cardiology,Surgery", [1, 2, 3]),
    ("specialty__in=Surgery", [2]),
    ("specialty__contains=SURG", [2, 4]),
    ("full_name__contains=%25", [4]),
    ("full_name__contains=_", [3]),
    ("full_name__contains=%5C", [2]),
    ("full_name=Dr.+100%25", [4]),
    ("full_name=dr.+100%25", []),
    ("full_name__gte=Dr.+B", [2, 3]),
    ("is_active=true", [1, 2, 4]),
    ("is_active=false", [3]),
    ("is_active__ne=true", [3]),
    ("specialty=Cardiology&is_active=true", [1]),
    ("specialty__contains=ology&full_name__contains=anna", [1]),
]


async def test_doctors_are_filtered(client: httpx.AsyncClient, world: World) -> None:
    """Each operator of each field gives the doctors it names; what LIKE would take for a pattern is plain text."""
    await world.doctor(full_name="Dr. Anna", specialty="Cardiology")
    await world.doctor(full_name="Dr. Bert\\", specialty="Surgery")
    await world.doctor(full_name="Dr. C_", specialty="Cardiology", is_active=False)
    await world.doctor(full_name="Dr. 100%", specialty="Brain surgery")
    for query, expected in OF_DOCTORS:
        assert await ids(client, "/doctors", query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=booked", [1, 2]),
        ("status__ne=booked", [3, 4]),
        ("status__in=cancelled,no_show", [3, 4]),
        ("status__in=cancelled&status__in=no_show", [3, 4]),
        ("status__in=booked&status=booked&status__in=cancelled,no_show", [1, 2]),
        ("doctor_id=2", [2, 4]),
        ("doctor_id__ne=2", [1, 3]),
        ("doctor_id__in=1,2", [1, 2, 3, 4]),
        ("patient_id__in=9,10", []),
        ("starts_at=2027-01-04T09:00:00Z", [2]),
        ("starts_at=2027-01-04T10:00:00%2B01:00", [2]),
        ("starts_at__ne=2027-01-04T09:00:00Z", [1, 3, 4]),
        ("starts_at__gt=2027-01-04T09:00:00Z", [3, 4]),
        ("starts_at__gte=2027-01-04T09:00:00Z", [2, 3, 4]),
        ("starts_at__lt=2027-01-04T09:00:00Z", [1]),
        ("starts_at__lte=2027-01-04T09:00:00Z", [1, 2]),
        ("starts_at__gte=2027-01-04T09:00:00Z&starts_at__lt=2027-01-04T10:00:00Z", [2]),
        ("starts_at__in=2027-01-04T08:00:00Z,2027-01-04T11:00:00Z", [1, 4]),
    ],
)
async def test_appointments_are_filtered(
    client: httpx.AsyncClient, world: World, query: str, expected: list[int]
) -> None:
    """Each operator of each field gives the appointments it names."""
    admin, patient = await world.admin(), await world.person()
    statuses = [AppointmentStatus.BOOKED, AppointmentStatus.BOOKED]
    statuses += [AppointmentStatus.CANCELLED, AppointmentStatus.NO_SHOW]
    doctors = [await world.doctor(), await world.doctor()]
    async with world.database.session_scope() as session:
        for number, status in enumerate(statuses):
            start = FIRST + timedelta(hours=number)
            values = {"doctor_id": doctors[number % 2], "patient_id": patient.id, "status": status}
            times = {"starts_at": start, "ends_at": start + timedelta(minutes=30)}
            await session.execute(insert(Appointment).values(values | times))
    assert await ids(client, "/appointments", query, admin) == expected


APPOINTMENTS_REFUSED: list[Any] = [
    "status=unknown",
    "status__in=booked,unknown",
    "status__in=",
    "status__contains=book",
    "doctor_id=0",
    "doctor_id=x",
    "doctor_id__in=1,,2",
    "doctor_id__in=" + ",".join("1" for _ in range(101)),
    "doctor_id__in=" + "&doctor_id__in=".join("1" for _ in range(101)),
    "status__in=booked&status__in=",
    f"doctor_id={2**63}",
    "starts_at=yesterday",
    "starts_at=2027-01-04T09:00:00",
    "starts_at__gte=9999-12-31T23:59:59Z",
    "starts_at__gte=9999-12-31T23:59:59-12:00",
    "starts_at__lt=0001-01-01T00:00:00Z",
    "reason=x",
    "sort=status",
]


async def test_values_that_can_not_be_are_refused(client: httpx.AsyncClient, world: World) -> None:
    """A value of another type, a time without an offset or out of range, too many of them: 422."""
    admin = await world.admin()
    for query in APPOINTMENTS_REFUSED:
        response = await client.get(f"{API}/appointments?{query}", headers=admin.headers)
        body = assert_problem(response, 422, "validation_error")
        assert "pydantic" not in response.text
        assert body["errors"][0]["loc"][1] == query.partition("=")[0]


OF_USERS: list[Any] = [
    ("role=admin", [1]),
    ("role__in=client,superadmin", [2, 3, 4]),
    ("email=pat@example.com", [2]),
    ("email__contains=TIM", [3]),
    ("email=PAT@Example.com", [2]),
    ("email=mira@EXAMPLE.com", [4]),
    ("email__ne=Mira@example.com", [1, 2, 3]),
    ("email__in=Pat@example.com,MIRA@example.com", [2, 4]),
    ("full_name__ne=Tim", [1, 2, 4]),
    ("is_active=false", [3]),
    ("created_at__lt=2000-01-02T00:00:00Z", []),
    ("created_at__gte=2000-01-02T00:00:00Z", [1, 2, 3, 4]),
]


async def test_users_are_filtered(client: httpx.AsyncClient, world: World) -> None:
    """Each field of the users' list filters; an address is one however its letters are written."""
    admin = await world.admin()
    await world.person(email="pat@example.com")
    await world.person(email="tim@example.com", full_name="Tim", is_active=False)
    await world.person(email="Mira@example.com")
    for query, expected in OF_USERS:
        assert await ids(client, "/users", query, admin) == expected


USERS_REFUSED: list[Any] = [
    "email=%00",
    "full_name__contains=%00",
    "email__in=a,%00",
    "role=king",
    "created_at=2027-01-04T09:00:00",
    "created_at__gte=9999-12-31T23:59:59-12:00",
    "password_hash=x",
    "password_hash__contains=x",
    "sort=role",
]


async def test_users_filters_refuse_what_can_not_be(client: httpx.AsyncClient, world: World) -> None:
    """NUL characters, times without an offset and fields that nobody may ask for are 422."""
    admin = await world.admin()
    for query in USERS_REFUSED:
        assert_problem(await client.get(f"{API}/users?{query}", headers=admin.headers), 422, "validation_error")
