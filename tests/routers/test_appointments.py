"""Booking through HTTP."""

import asyncio

import httpx

from app.schemas.messages.mails import AppointmentMail, SendAppointmentMail
from app.services.container import Container
from tests.support import API, World, clinic_time, next_weekday


async def test_a_client_books_a_free_slot(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """A booking answers 201 with the appointment, its place and its tag, and accepts the mail with it."""
    patient, doctor_id = await world.person(), await world.doctor()
    starts_at = clinic_time(container, next_weekday(), "09:00")
    response = await client.post(
        f"{API}/appointments", json={"doctor_id": doctor_id, "starts_at": starts_at}, headers=patient.headers
    )
    assert response.status_code == 201
    body = response.json()
    assert body["starts_at"] == starts_at
    assert (body["patient_id"], body["status"], body["reason"]) == (patient.id, "booked", None)
    assert response.headers["location"] == f"{API}/appointments/{body['id']}"
    assert response.headers["etag"] == '"1"'
    await world.assert_enqueued(SendAppointmentMail, appointment_id=body["id"], kind=AppointmentMail.BOOKED)


async def test_of_many_rivals_one_gets_the_slot(client: httpx.AsyncClient, world: World, container: Container) -> None:
    """Fifty clients ask for one slot at once: one 201, one row; the others 409, or 503 on a busy machine."""
    doctor_id = await world.doctor()
    rivals = [await world.person() for _ in range(50)]
    starts_at = clinic_time(container, next_weekday(), "10:00")
    answers = await asyncio.gather(
        *(
            client.post(
                f"{API}/appointments", json={"doctor_id": doctor_id, "starts_at": starts_at}, headers=one.headers
            )
            for one in rivals
        )
    )
    first, *others = sorted(answer.status_code for answer in answers)
    assert (first, set(others) - {503}) == (201, {409})
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"slot_taken"}
    assert await world.scalar("SELECT count(*) FROM appointments") == 1
