"""What takes at most so many rows takes no more, whichever way PostgreSQL finds them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from app.core.database import WriteSession
from app.crud import catalogue
from app.crud.appointments import appointments
from app.crud.audit_events import audit_events
from app.crud.jobs import jobs
from tests.support import World

LIMIT, ROWS = 2, 20
DUE_JOBS = """
    INSERT INTO jobs (name, queue, payload, max_attempts) SELECT 'test.note', 'io', '{}', 2 FROM generate_series(1, :n)
"""
EXPIRED_JOBS = """
    INSERT INTO jobs (name, queue, payload, max_attempts, status, lease_token, lease_expires_at)
    SELECT 'test.note', 'io', '{}', 2, 'running', gen_random_uuid(), now() - interval '1 s' FROM generate_series(1, :n)
"""
APPOINTMENTS = """
    INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at)
    SELECT d.id, u.id, now() + make_interval(mins => i), now() + make_interval(mins => i + 1)
    FROM generate_series(1, :n) i, doctors d, users u
"""
PRODUCTS = """
    INSERT INTO products (sku, name, price, currency, source)
    SELECT i::text, 'a', 1, 'EUR', 'marketplace' FROM generate_series(1, :n) i
"""
OLD_EVENTS = """
    INSERT INTO audit_events (at, actor_type, action, object_type)
    SELECT now() - interval '60 days', 'system', 'x.y', 'x' FROM generate_series(1, :n)
"""


@asynccontextmanager
async def believed_empty(world: World, table: str) -> AsyncIterator[None]:
    """The statistics that a table keeps which was empty when it was last looked at: one row is expected of it."""
    await world.execute("UPDATE pg_class SET relpages = 3, reltuples = 0 WHERE oid = to_regclass(:table)", table=table)
    try:
        yield
    finally:
        await world.execute(f"ANALYZE {table}")


async def take(session: WriteSession) -> int:
    return len(await jobs.take_unpublished(session, limit=LIMIT, names=["test.note"]))


async def reap(session: WriteSession) -> int:
    return len(await jobs.reap(session, limit=LIMIT))


async def remind(session: WriteSession) -> int:
    return len(await appointments.take_due_reminders(session, ahead=timedelta(days=1), limit=LIMIT))


async def withdraw(session: WriteSession) -> int:
    return await catalogue.withdraw(session, run_id=1, limit=LIMIT)


async def prune(session: WriteSession) -> int:
    return await audit_events.prune(session, days=30, limit=LIMIT)


@pytest.mark.parametrize(
    ("table", "filling", "step"),
    [
        ("jobs", DUE_JOBS, take),
        ("jobs", EXPIRED_JOBS, reap),
        ("appointments", APPOINTMENTS, remind),
        ("products", PRODUCTS, withdraw),
        ("audit_events", OLD_EVENTS, prune),
    ],
    ids=["take", "reap", "remind", "withdraw", "prune"],
)
async def test_a_limit_holds_whatever_the_statistics_say(
    world: World, table: str, filling: str, step: Callable[[WriteSession], Awaitable[int]]
) -> None:
    """A step takes as many rows as it asked for, also where the planner believes that the table is empty."""
    await world.doctor()
    await world.person()
    await world.execute(filling, n=ROWS)
    async with believed_empty(world, table), world.database.session_scope() as session:
        assert await step(session) == LIMIT
