"""Reports and the jobs that draw them."""

import csv
import io
from datetime import timedelta
from typing import Any

import httpx
from pypdf import PdfReader

from app.core.jobs import staff_names
from app.services.container import Container
from tests.support import API, Person, World, assert_problem, clinic_time, next_weekday

DAY = next_weekday()
JOB = {"id", "name", "queue", "status", "progress", "attempt", "max_attempts", "run_at", "created_at"}
JOB |= {"started_at", "finished_at", "result", "error"}
ASKED = {"kind": "utilisation", "from": str(DAY), "to": str(DAY + timedelta(days=7)), "format": "csv"}


async def ask(client: httpx.AsyncClient, who: Person, **fields: Any) -> httpx.Response:
    return await client.post(f"{API}/reports", json=ASKED | fields, headers=who.headers)


async def test_a_report_is_accepted_drawn_and_fetched(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """202 with the job and its place; 409 until it is done; then the CSV with the clinic's figures."""
    admin, patient = await world.admin(), await world.person()
    hours = [{"weekday": DAY.weekday(), "start": "09:00", "end": "12:00"}]
    doctor_id = await world.doctor(hours=hours, full_name="Dr. Zoë")
    json = {"doctor_id": doctor_id, "starts_at": clinic_time(container, DAY, "09:00")}
    await client.post(f"{API}/appointments", json=json, headers=patient.headers)
    accepted = await ask(client, admin)
    assert accepted.status_code == 202
    job = accepted.json()
    where = accepted.headers["location"]
    assert where == f"{API}/jobs/{job['id']}"
    assert job.keys() == JOB
    assert (job["queue"], job["status"], job["attempt"]) == ("cpu", "queued", 0)
    assert job["progress"].keys() == {"done", "total", "note"}
    assert (await client.get(where, headers=admin.headers)).json() == job
    assert_problem(await client.get(f"{where}/result", headers=admin.headers), 409, "job_not_finished")
    await world.run_jobs()
    done = (await client.get(where, headers=admin.headers)).json()
    assert (done["status"], done["attempt"], done["error"]) == ("succeeded", 1, None)
    assert all(done[name].endswith("Z") for name in ("created_at", "run_at", "started_at", "finished_at"))
    result = await client.get(f"{where}/result", headers=admin.headers)
    assert (result.status_code, result.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert result.headers["content-disposition"].startswith('attachment; filename="utilisation-')
    assert int(result.headers["content-length"]) == len(result.content)
    (row,) = csv.DictReader(io.StringIO(result.text))
    assert (row["full_name"], row["available_minutes"], row["booked_minutes"]) == ("Dr. Zoë", "180", "30")


async def test_a_report_is_a_pdf_too(client: httpx.AsyncClient, world: World) -> None:
    """The other format is a PDF that opens and names the doctor, for a clinic without a single appointment as well."""
    admin, _ = await world.admin(), await world.doctor(full_name="Dr. Tom Berg")
    accepted = await ask(client, admin, format="pdf")
    await world.run_jobs()
    result = await client.get(f"{accepted.headers['location']}/result", headers=admin.headers)
    assert (result.status_code, result.headers["content-type"]) == (200, "application/pdf")
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(result.content)).pages)
    assert "Dr. Tom Berg" in text


async def test_a_job_is_its_creators_and_the_admins(client: httpx.AsyncClient, world: World) -> None:
    """404 for anyone else, for the job and for its result; another admin sees both."""
    admin, colleague, stranger = await world.admin(), await world.admin(), await world.person()
    where = (await ask(client, admin)).headers["location"]
    await world.run_jobs()
    for path in (where, f"{where}/result"):
        assert_problem(await client.get(path, headers=stranger.headers), 404, "not_found")
        assert (await client.get(path, headers=colleague.headers)).status_code == 200
    for path in (f"{API}/jobs/999", f"{API}/jobs/999/result"):
        assert_problem(await client.get(path, headers=admin.headers), 404, "not_found")


async def test_a_client_sees_the_mail_job_of_their_booking(
    client: httpx.AsyncClient, world: World, container: Container
) -> None:
    """The job is theirs whose request caused it; it makes no file, and its tag changes with its state."""
    patient, other, doctor_id = await world.person(), await world.person(), await world.doctor()
    json = {"doctor_id": doctor_id, "starts_at": clinic_time(container, DAY, "09:00")}
    await client.post(f"{API}/appointments", json=json, headers=patient.headers)
    job_id = await world.scalar("SELECT id FROM jobs")
    where = f"{API}/jobs/{job_id}"
    queued = await client.get(where, headers=patient.headers)
    assert queued.json()["status"] == "queued"
    assert_problem(await client.get(where, headers=other.headers), 404, "not_found")
    same = await client.get(where, headers=patient.headers | {"If-None-Match": queued.headers["etag"]})
    assert same.status_code == 304
    await world.run_jobs()
    done = await client.get(where, headers=patient.headers | {"If-None-Match": queued.headers["etag"]})
    assert (done.status_code, done.json()["status"]) == (200, "succeeded")
    assert_problem(await client.get(f"{where}/result", headers=patient.headers), 404, "not_found")


async def test_a_failed_job_has_no_result(client: httpx.AsyncClient, world: World) -> None:
    """409 for the result of a job that failed; the job itself says why."""
    admin = await world.admin()
    where = (await ask(client, admin)).headers["location"]
    await world.execute("UPDATE jobs SET status = 'failed', error = 'no paper', finished_at = now()")
    assert (await client.get(where, headers=admin.headers)).json()["error"] == "no paper"
    assert_problem(await client.get(f"{where}/result", headers=admin.headers), 409, "job_not_finished")


REFUSED: list[Any] = [
    {"kind": "gossip"},
    {"kind": None},
    {"format": "docx"},
    {"from": "2026-02-30"},
    {"from": "2026-01-01T10:00:00Z"},
    {"to": str(DAY)},
    {"to": str(DAY - timedelta(days=1))},
    {"to": str(DAY + timedelta(days=367))},
    {"to": "9999-12-31"},
    {"from": 1800000000},
    {"audience": "all"},
]


async def test_a_report_that_can_not_be(client: httpx.AsyncClient, world: World) -> None:
    """Unknown kinds and formats, ranges that are empty, reversed or longer than a leap year: 422, no job."""
    admin = await world.admin()
    for fields in REFUSED:
        assert_problem(await ask(client, admin, **fields), 422, "validation_error")
        assert await world.scalar("SELECT count(*) FROM jobs") == 0


async def test_who_lost_the_role_reads_no_report_any_more(client: httpx.AsyncClient, world: World) -> None:
    """What took a staff role to make takes one to read: job, file and stream are 404; their other jobs are not."""
    admin = await world.admin()
    where = (await ask(client, admin)).headers["location"]
    await world.run_jobs()
    assert (await client.get(f"{where}/result", headers=admin.headers)).status_code == 200
    superadmin = await world.superadmin()
    path = f"{API}/users/{admin.id}"
    changed = await client.patch(path, json={"role": "client"}, headers=superadmin.headers)
    assert changed.status_code == 200
    await world.execute("UPDATE auth_sessions SET revoked_at = NULL WHERE user_id = :id", id=admin.id)
    await world.execute(
        "INSERT INTO jobs (name, queue, payload, max_attempts, created_by) VALUES "
        "('mail.appointment', 'io', '{}', 1, :id)",
        id=admin.id,
    )
    other = await world.scalar("SELECT max(id) FROM jobs")
    for end in ("", "/result", "/events"):
        assert_problem(await client.get(f"{where}{end}", headers=admin.headers), 404, "not_found")
    assert (await client.get(f"{API}/jobs/{other}", headers=admin.headers)).status_code == 200


def test_what_is_for_staff() -> None:
    """Each job that a route of staff answers with is for staff, and so are mails whose end tells who has an account; no
    other that a patient causes is."""
    assert staff_names() == {
        *("report.utilisation", "report.revenue", "notification.send", "catalogue.sync", "photo.doctor"),
        *("webhook.handle", "webhook.redeliver"),
        *("mail.verification", "mail.account_exists", "mail.password_reset", "mail.email_change"),
    }
