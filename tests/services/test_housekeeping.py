"""What is cut back, and what stays."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.core.jobs import enqueue_many
from app.crud import job_control
from app.integrations.storage import ObjectMissing
from app.schemas.messages.housekeeping import Prune, Pruned, SendDueReminders
from app.services.container import Container
from tests.support import World


async def no_progress(done: int, total: int | None = None, note: str | None = None) -> None:
    """Nobody looks on."""


async def prune(container: Container, subject: Pruned) -> int:
    return await container.housekeeping.prune(subject, progress=no_progress)


async def add_job(world: World, status: str, days: int, result: str = "null") -> int:
    sql = """
        INSERT INTO jobs (name, queue, payload, max_attempts, status, finished_at, lease_token, result)
        SELECT 'test.note', 'io', '{}', 1, status,
               CASE WHEN status NOT IN ('queued', 'running') THEN now() - make_interval(days => :days) END,
               CASE WHEN status = 'running' THEN gen_random_uuid() END, CAST(:result AS jsonb)
        FROM (VALUES (CAST(:status AS text))) AS given (status)
        RETURNING id
    """
    async with world.database.engine.begin() as connection:
        values = {"status": status, "days": days, "result": result}
        return int((await connection.execute(text(sql), values)).scalar_one())


async def ids(world: World, table: str) -> set[int]:
    return {row.id for row in await world.rows(f"SELECT id FROM {table}")}


async def test_finished_jobs_go_after_their_time_and_their_files_with_them(world: World, container: Container) -> None:
    """Succeeded and cancelled jobs go after two weeks, failed ones after three months, live ones never."""
    await container.storage.put("reports/old.csv", b"1")
    await container.storage.put("reports/new.csv", b"2")
    old = '{"file": {"key": "reports/old.csv"}}'
    gone = [
        await add_job(world, "succeeded", 15, old),
        await add_job(world, "succeeded", 15, '["no file"]'),
        await add_job(world, "cancelled", 15),
        await add_job(world, "failed", 91),
    ]
    kept = {
        await add_job(world, "succeeded", 13, '{"file": {"key": "reports/new.csv"}}'),
        await add_job(world, "failed", 89),
        await add_job(world, "queued", 0),
        await add_job(world, "running", 0),
    }
    assert await prune(container, Pruned.JOBS) == len(gone)
    assert await ids(world, "jobs") == kept
    with pytest.raises(ObjectMissing):
        await container.storage.size("reports/old.csv")
    assert await container.storage.size("reports/new.csv") == 1


async def test_a_job_that_is_repeated_while_it_is_found_to_be_old_stays(world: World) -> None:
    """Between the look and the deletion somebody gives a failed job another attempt: it is not deleted."""
    repeated, old = await add_job(world, "failed", 91), await add_job(world, "failed", 91)
    kept = timedelta(days=14)
    found = await job_control.finished_before(world.database.read, kept=kept, failed_kept=kept, limit=10)
    assert {row.id for row in found} == {repeated, old}
    async with world.database.session_scope() as session:
        await job_control.revive(session, repeated)
    async with world.database.session_scope() as session:
        assert await job_control.delete_finished(session, [row.id for row in found]) == 1
    assert await ids(world, "jobs") == {repeated}


async def test_a_large_backlog_is_cut_in_batches(
    world: World, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than fits one transaction goes in several, each reported; nothing is left."""
    monkeypatch.setattr("app.services.housekeeping.BATCH", 10)
    for _ in range(25):
        await add_job(world, "succeeded", 20)
    reported: list[int] = []

    async def progress(done: int, total: int | None = None, note: str | None = None) -> None:
        reported.append(done)

    assert await container.housekeeping.prune(Pruned.JOBS, progress=progress) == 25
    assert reported == [10, 20, 25]
    assert await world.count("jobs") == 0


async def test_sessions_and_tokens_go_when_nothing_can_be_done_with_them(world: World, container: Container) -> None:
    """What has expired, was revoked or was left behind long ago goes; what may still be used stays."""
    people = {name: await world.person() for name in ("live", "revoked", "left", "quiet", "fresh")}
    session = {name: person.session_id for name, person in people.items()}
    await world.execute(
        "UPDATE auth_sessions SET revoked_at = now() - interval '31 days' WHERE id = :id", id=session["revoked"]
    )
    for name in ("left", "quiet"):
        await world.execute(
            "UPDATE auth_sessions SET last_seen_at = now() - interval '31 days' WHERE id = :id", id=session[name]
        )
    token = (
        "INSERT INTO refresh_tokens (session_id, token_hash, expires_at)"
        " VALUES (:id, :hash, now() + make_interval(days => :days))"
    )
    await world.execute(token, id=session["quiet"], hash=b"1", days=3)
    await world.execute(token, id=session["left"], hash=b"2", days=-8)
    await world.execute(token, id=session["live"], hash=b"3", days=-8)
    await world.execute(token, id=session["live"], hash=b"4", days=-6)
    mailed = (
        "INSERT INTO one_time_tokens (user_id, purpose, token_hash, expires_at)"
        " VALUES (:id, 'verify_email', :hash, now() + make_interval(days => :days))"
    )
    await world.execute(mailed, id=people["live"].id, hash=b"5", days=-8)
    await world.execute(mailed, id=people["live"].id, hash=b"6", days=-6)
    assert await prune(container, Pruned.SESSIONS) == 2
    assert await ids(world, "auth_sessions") == {session[name] for name in ("live", "quiet", "fresh")}
    assert await prune(container, Pruned.TOKENS) == 2
    assert {row.token_hash for row in await world.rows("SELECT token_hash FROM refresh_tokens")} == {b"1", b"4"}
    assert {row.token_hash for row in await world.rows("SELECT token_hash FROM one_time_tokens")} == {b"6"}


async def test_expired_answers_go(world: World, container: Container) -> None:
    """An idempotent answer is kept for 24 hours and no longer than the next pruning."""
    add = (
        "INSERT INTO idempotency_keys (owner, route, key, request_hash, status, headers, body, created_at)"
        " VALUES ('user:1', 'POST /x', :key, '\\x00', 201, '{}', '\\x00', now() - make_interval(hours => :hours))"
    )
    await world.execute(add, key="old", hours=25)
    await world.execute(add, key="new", hours=23)
    assert await prune(container, Pruned.IDEMPOTENCY_KEYS) == 1
    assert [row.key for row in await world.rows("SELECT key FROM idempotency_keys")] == ["new"]


@pytest.mark.parametrize("message", [SendDueReminders(), *(Prune(subject=subject) for subject in Pruned)], ids=str)
async def test_each_job_of_the_house_runs_on_an_empty_one(world: World, message: Any) -> None:
    """With nothing to do, each succeeds and says so."""
    async with world.database.session_scope() as session:
        await enqueue_many(session, [message])
    assert await world.run_jobs() == 1
    (row,) = await world.rows("SELECT status, result FROM jobs")
    assert (row.status, set(row.result.values())) == ("succeeded", {0})


async def test_old_audit_events_go(world: World, container: Container) -> None:
    """What is older than `RETENTION_AUDIT_EVENTS` goes, and nothing else."""
    for age in (400, 366, 364, 0):
        await world.execute(
            "INSERT INTO audit_events (at, actor_type, action, object_type) "
            f"VALUES (now() - interval '{age} days', 'system', 'x.y', 'x')"
        )
    assert await prune(container, Pruned.AUDIT_EVENTS) == 2
    assert await world.count("audit_events") == 2


async def test_old_notifications_go_with_their_recipients(world: World, container: Container) -> None:
    """What is older than it is kept for goes, recipients first; what is younger stays whole."""
    person = await world.person()
    for age in (100, 1):
        await world.execute(
            "INSERT INTO notifications (template, subject, context, role, last_user_id, created_at) "
            "VALUES ('announcement', 'News', '{}', 'client', 1, now() - make_interval(days => :age))",
            age=age,
        )
    await world.execute("INSERT INTO notification_recipients SELECT id, :id, 'sent' FROM notifications", id=person.id)
    assert await prune(container, Pruned.NOTIFICATIONS) in {1, 2}
    assert await prune(container, Pruned.NOTIFICATIONS) in {0, 1}
    assert (await world.count("notifications"), await world.count("notification_recipients")) == (1, 1)


async def test_old_events_of_others_go(world: World, container: Container) -> None:
    """An event of another service goes after its time; a younger one stays, so that its repetition is known."""
    for age in (91, 89):
        await world.execute(
            "INSERT INTO received_events (source, event_id, type, occurred_at, created_at) "
            "VALUES ('erp', :id, 'x.y', now(), now() - make_interval(days => :age))",
            id=str(age),
            age=age,
        )
    assert await prune(container, Pruned.RECEIVED_EVENTS) == 1
    assert [row.event_id for row in await world.rows("SELECT event_id FROM received_events")] == ["89"]


async def test_old_catalogue_runs_go(world: World, container: Container) -> None:
    """A run that was finished long ago goes; a younger one stays, and so does one that is not finished."""
    for age, finished in ((91, True), (89, True), (91, False)):
        await world.execute(
            "INSERT INTO catalogue_runs (vendor, pages, moved_at, finished_at) SELECT 'marketplace', :age, at, "
            "CASE WHEN :finished THEN at END FROM (SELECT now() - make_interval(days => :age) AS at) AS given",
            age=age,
            finished=finished,
        )
    assert await prune(container, Pruned.CATALOGUE_RUNS) == 1
    left = await world.rows("SELECT pages, finished_at IS NULL AS open FROM catalogue_runs ORDER BY id")
    assert [(row.pages, row.open) for row in left] == [(89, False), (91, True)]
