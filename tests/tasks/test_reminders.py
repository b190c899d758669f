"""The sweep that reminds patients a day ahead, and the mail that comes of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import httpx

from app.schemas.messages.mails import AppointmentMail, SendAppointmentMail, SendVerificationMail
from app.services.container import Container
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies
from tests.support import API, Person, World


def in_hours(hours: int) -> datetime:
    """A whole half hour, this many hours away."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return now.replace(minute=now.minute // 30 * 30) + timedelta(hours=hours)


async def book(client: httpx.AsyncClient, person: Person, doctor_id: int, starts_at: datetime) -> int:
    body = {"doctor_id": doctor_id, "starts_at": starts_at.isoformat()}
    answer = await client.post(f"{API}/appointments", json=body, headers=person.headers)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def let_time_pass(world: World, hours: int) -> None:
    """Bring every appointment this much closer, as if the clock had moved on."""
    await world.execute(
        "UPDATE appointments SET starts_at = starts_at - make_interval(hours => :hours),"
        " ends_at = ends_at - make_interval(hours => :hours)",
        hours=hours,
    )


async def reminders(world: World) -> list[int]:
    sent = await world.enqueued(SendAppointmentMail)
    return [message.appointment_id for message in sent if message.kind is AppointmentMail.REMINDER]


def mails(container: Container) -> list[Path]:
    return sorted(container.settings.mail.directory.glob("*.eml"))


async def test_two_sweepers_send_one_reminder_each(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """Sweepers that look at the same time remind of every due appointment once, and never again."""
    doctor_id, patient = await world.doctor(), await world.person()
    booked = [await book(client, patient, doctor_id, in_hours(48 + n)) for n in range(8)]
    await container.housekeeping.remind()
    assert await reminders(world) == []
    await let_time_pass(world, 30)
    async with world.database.session_scope() as session:
        assert await container.appointments.send_due_reminders(session) == 7
        await container.housekeeping.remind()
    await asyncio.gather(*(container.housekeeping.remind() for _ in range(4)))
    assert sorted(await reminders(world)) == booked[:7], "the eighth is more than a day away"
    await container.housekeeping.remind()
    assert len(await reminders(world)) == 7


async def test_who_booked_within_a_day_is_not_reminded(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """An appointment booked or moved to within the next 24 hours gets no reminder: its own mail has just gone out."""
    doctor_id, patient = await world.doctor(), await world.person()
    await book(client, patient, doctor_id, in_hours(5))
    moved = await book(client, patient, doctor_id, in_hours(72))
    answer = await client.patch(
        f"{API}/appointments/{moved}", json={"starts_at": in_hours(7).isoformat()}, headers=patient.headers
    )
    assert answer.status_code == 200, answer.text
    await container.housekeeping.remind()
    assert await reminders(world) == []


async def test_a_moved_appointment_is_reminded_at_its_new_time_only(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """A reminder already enqueued for the old time is not sent after a move; the new time gets its own."""
    doctor_id, patient = await world.doctor(), await world.person()
    appointment_id = await book(client, patient, doctor_id, in_hours(48))
    await let_time_pass(world, 30)
    await container.housekeeping.remind()
    new = in_hours(80)
    answer = await client.patch(
        f"{API}/appointments/{appointment_id}", json={"starts_at": new.isoformat()}, headers=patient.headers
    )
    assert answer.status_code == 200, answer.text
    await container.housekeeping.remind()
    await world.run_jobs()
    results = await world.rows("SELECT payload->>'kind' AS kind, result FROM jobs ORDER BY id")
    skipped = {"skipped": "the appointment was moved or ended"}
    assert [row.result for row in results if row.kind == "reminder"] == [skipped]
    assert len(mails(container)) == 2, "booked and rescheduled"
    await let_time_pass(world, 60)
    await container.housekeeping.remind()
    assert await reminders(world) == [appointment_id] * 2
    await world.run_jobs()
    assert len(mails(container)) == 2 + 1


async def test_a_cancelled_appointment_is_not_reminded(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """Neither a cancellation before the sweep nor one between the sweep and the mail lets a reminder out."""
    doctor_id, patient = await world.doctor(), await world.person()
    early = await book(client, patient, doctor_id, in_hours(48))
    late = await book(client, patient, doctor_id, in_hours(50))
    await client.post(f"{API}/appointments/{early}/cancel", headers=patient.headers)
    await let_time_pass(world, 30)
    await container.housekeeping.remind()
    assert await reminders(world) == [late]
    await client.post(f"{API}/appointments/{late}/cancel", headers=patient.headers)
    await world.run_jobs()
    subjects = [message_from_bytes(path.read_bytes())["Subject"] for path in mails(container)]
    assert len(subjects) == 4, "two booked, two cancelled"
    assert not [subject for subject in subjects if "remind" in subject.lower()]


async def test_every_attempt_of_a_mail_has_the_same_message_id(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """A job that is done again writes the same mail under the same Message-ID, in the sender's domain."""
    doctor_id, patient = await world.doctor(), await world.person()
    await book(client, patient, doctor_id, in_hours(72))
    await world.run_jobs()
    (first,) = mails(container)
    job = (await world.rows("SELECT id, created_at, result FROM jobs"))[0]
    expected = f"job-{job.id}.{int(job.created_at.timestamp())}@example.com"
    assert (first.name, job.result) == (f"{expected}.eml", {"message_id": f"<{expected}>"})
    assert message_from_bytes(first.read_bytes())["Message-ID"] == f"<{expected}>"
    await world.execute("UPDATE jobs SET status = 'queued'")
    await world.run_jobs()
    assert await world.scalar("SELECT attempt FROM jobs") == 2
    assert mails(container) == [first]


async def test_ids_that_come_again_after_a_reset_make_other_mails_and_tokens(
    world: World, container: Container
) -> None:
    """Job 1 of a database made anew is not the old job 1: neither its Message-ID nor its link's token recurs."""
    person = await world.person(email_verified=False)
    runner = Runner(container.database, bodies(container), container.settings.jobs)
    tokens: set[bytes] = set()
    ids: set[str] = set()
    for made in ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"):
        await world.execute("TRUNCATE jobs RESTART IDENTITY")
        message = SendVerificationMail(user_id=person.id).model_dump_json()
        await world.execute(
            "INSERT INTO jobs (name, queue, payload, max_attempts, created_at)"
            " VALUES (:name, 'io', CAST(:payload AS jsonb), 3, CAST(CAST(:made AS text) AS timestamptz))",
            name=SendVerificationMail.name,
            payload=message,
            made=made,
        )
        await runner.run(1)
        ids.add((await world.scalar("SELECT result FROM jobs"))["message_id"])
        tokens.update(row[0] for row in await world.rows("SELECT token_hash FROM one_time_tokens"))
    assert (len(ids), len(tokens), len(mails(container))) == (2, 2, 2)
