"""Admins list, cancel and repeat jobs."""

import asyncio
from typing import Any, ClassVar

import httpx
import pytest

from app.config import JobSettings
from app.core.database import WriteSession
from app.core.jobs import JobFailed, JobMessage, JobStatus, Queue, Retry, enqueue
from app.models import Doctor
from app.tasks.attempt import Attempt, Body, Effect, Runner
from tests.support import API, Person, World, assert_problem


class Note(JobMessage):
    name: ClassVar[str] = "test.note"
    retry: ClassVar[Retry] = Retry(max_attempts=2)


class Sum(JobMessage):
    name: ClassVar[str] = "test.sum"
    queue: ClassVar[Queue] = Queue.CPU


class Only(JobMessage):
    name: ClassVar[str] = "test.only"

    def unique_key(self) -> str:
        return "one"


async def send(world: World, message: JobMessage | None = None) -> int:
    async with world.database.session_scope() as session:
        return await enqueue(session, message or Note())


async def row(world: World, job_id: int) -> Any:
    return (await world.rows("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]


def runner(world: World, body: Body, *, heartbeat: float = 10) -> Runner:
    return Runner(world.database, {Note: body, Only: body}, JobSettings(lease=30, heartbeat=heartbeat))


async def fail(_: Any, __: Attempt) -> None:
    raise JobFailed("no")


async def end(client: httpx.AsyncClient, person: Person, job_id: int, step: str, **headers: str) -> httpx.Response:
    return await client.post(f"{API}/jobs/{job_id}/{step}", headers=person.headers | headers)


async def test_admins_find_jobs_by_name_queue_and_status(world: World, client: httpx.AsyncClient) -> None:
    """Each filter narrows the list, pages follow each other, and nobody but an admin sees it."""
    notes = [await send(world) for _ in range(3)]
    total = await send(world, Sum())
    await runner(world, fail).run(notes[0])
    admin = await world.admin()

    async def ids(query: str) -> list[int]:
        answer = await client.get(f"{API}/jobs?{query}", headers=admin.headers)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["items"]]

    assert await ids("") == [*notes, total]
    assert await ids("sort=-id") == [total, *notes[::-1]]
    assert await ids("name=test.note&status=queued") == notes[1:]
    assert await ids("status__in=failed,running") == notes[:1]
    assert await ids("queue=cpu") == [total]
    first = (await client.get(f"{API}/jobs?limit=3&count=true", headers=admin.headers)).json()
    assert first["total"] == 4
    assert await ids(f"limit=3&cursor={first['next_cursor']}") == [total]
    assert (first["items"][0]["error"], first["items"][0]["attempt"]) == ("JobFailed: no", 1)
    assert_problem(await client.get(f"{API}/jobs?status=lost", headers=admin.headers), 422, "validation_error")
    for step in ("jobs", f"jobs/{total}/cancel", f"jobs/{total}/retry"):
        method = "GET" if step == "jobs" else "POST"
        person = await world.person()
        assert_problem(await client.request(method, f"{API}/{step}", headers=person.headers), 403, "forbidden")
    assert_problem(await end(client, admin, 999, "cancel"), 404, "not_found")


async def test_a_queued_job_is_cancelled_and_never_runs(world: World, client: httpx.AsyncClient) -> None:
    """It ends as cancelled; a message for it finds nothing to claim; to cancel it again is no step."""
    job_id, admin = await send(world), await world.admin()
    answer = await end(client, admin, job_id, "cancel")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["finished_at"] is not None) == ("cancelled", True)
    shown = await client.get(f"{API}/jobs/{job_id}", headers=admin.headers)
    assert (shown.json(), shown.headers["etag"]) == (answer.json(), answer.headers["etag"])
    assert await runner(world, fail).run(job_id) is None
    assert_problem(await end(client, admin, job_id, "cancel"), 409, "invalid_transition")


async def test_a_running_job_is_stopped_and_writes_nothing(world: World, client: httpx.AsyncClient) -> None:
    """At the next beat the body is cancelled; even one that ends at that moment leaves neither rows nor a result."""
    admin, begun, stopped = await world.admin(), asyncio.Event(), asyncio.Event()

    async def write(session: WriteSession) -> None:
        session.add(Doctor(full_name="Dr. Late", specialty="Jobs", hours=[]))

    async def body(_: Any, __: Attempt) -> Effect:
        begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.set()
        return Effect(write)

    job_id = await send(world)
    task = asyncio.create_task(runner(world, body, heartbeat=0.1).run(job_id))
    await begun.wait()
    assert (await end(client, admin, job_id, "cancel")).json()["status"] == "cancelled"
    assert await task is JobStatus.CANCELLED
    assert stopped.is_set()
    after = await row(world, job_id)
    assert (after.status, after.result, after.error, after.lease_token) == ("cancelled", None, None, None)
    assert await world.count("doctors") == 0


@pytest.mark.parametrize("outcome", ["effect", "error"])
async def test_an_attempt_that_ends_after_the_cancellation_is_dropped(
    world: World, client: httpx.AsyncClient, outcome: str
) -> None:
    """Whoever finishes before any beat told it is fenced off: no rows, no error, no retry."""
    admin = await world.admin()

    async def write(session: WriteSession) -> None:
        session.add(Doctor(full_name="Dr. Late", specialty="Jobs", hours=[]))

    async def body(_: Any, attempt: Attempt) -> Effect:
        assert (await end(client, admin, attempt.job_id, "cancel")).status_code == 200
        if outcome == "error":
            raise ValueError("too late")
        return Effect(write)

    job_id = await send(world)
    assert await runner(world, body).run(job_id) in (JobStatus.CANCELLED, None)
    assert (await row(world, job_id)).status == "cancelled"
    assert (await row(world, job_id)).error is None
    assert await world.count("doctors") == 0


async def test_a_dead_job_gets_all_its_attempts_again(world: World, client: httpx.AsyncClient) -> None:
    """Failed and cancelled jobs are queued anew, due at once; from any other state there is no such step."""
    job_id, admin = await send(world), await world.admin()
    assert_problem(await end(client, admin, job_id, "retry"), 409, "invalid_transition")
    await runner(world, fail).run(job_id)
    answer = await end(client, admin, job_id, "retry")
    assert answer.status_code == 200, answer.text
    assert [answer.json()[name] for name in ("status", "attempt", "max_attempts", "finished_at")] == [
        "queued",
        0,
        2,
        None,
    ]
    done: list[int] = []

    async def succeed(_: Any, attempt: Attempt) -> None:
        done.append(attempt.number)

    assert await runner(world, succeed).run(job_id) is JobStatus.SUCCEEDED
    assert done == [1]
    assert_problem(await end(client, admin, job_id, "retry"), 409, "invalid_transition")
    other = await send(world)
    await end(client, admin, other, "cancel")
    audited = await world.rows("SELECT action, object_id, actor_id FROM audit_events ORDER BY id")
    assert [tuple(one) for one in audited] == [("job.retried", job_id, admin.id), ("job.cancelled", other, admin.id)]
    assert (await end(client, admin, other, "retry")).json()["status"] == "queued"


async def test_steps_honour_if_match(world: World, client: httpx.AsyncClient) -> None:
    """A job that has changed since it was read is not touched; the tag of what was read lets the step pass."""
    job_id, admin = await send(world), await world.admin()
    seen = (await client.get(f"{API}/jobs/{job_id}", headers=admin.headers)).headers["etag"]
    await world.execute("UPDATE jobs SET attempt = 1")
    stale = {"If-Match": seen}
    assert_problem(await end(client, admin, job_id, "cancel", **stale), 412, "precondition_failed")
    fresh = (await client.get(f"{API}/jobs/{job_id}", headers=admin.headers)).headers["etag"]
    ended = await end(client, admin, job_id, "cancel", **{"If-Match": fresh})
    assert ended.status_code == 200
    again = await end(client, admin, job_id, "retry", **{"If-Match": ended.headers["etag"]})
    assert again.status_code == 200, again.text


async def test_a_job_is_not_repeated_beside_its_twin(world: World, client: httpx.AsyncClient) -> None:
    """While another job of the same unique key is live, retrying is a conflict and changes nothing."""
    first, admin = await send(world, Only()), await world.admin()
    await end(client, admin, first, "cancel")
    twin = await send(world, Only())
    assert twin != first
    assert_problem(await end(client, admin, first, "retry"), 409, "conflict")
    await end(client, admin, twin, "cancel")
    assert (await end(client, admin, first, "retry")).status_code == 200


async def test_rivals_make_one_step(world: World, client: httpx.AsyncClient) -> None:
    """Of ten cancellations at once, one succeeds and nine find the job ended."""
    job_id, admin = await send(world), await world.admin()
    answers = await asyncio.gather(*(end(client, admin, job_id, "cancel") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
