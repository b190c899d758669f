"""What the countable jobs do: note the start, take their time, and leave their row with their completion."""

import asyncio
import os
import signal
import time

from sqlalchemy import text

from app.core.database import Database, WriteSession
from app.services.container import Container
from app.tasks.attempt import Attempt, Bodies, Effect
from tests.chaos.messages import FUTURE, Block, Compute, Count, Crash, Future, FutureCompute

TABLES = """
    CREATE TABLE chaos_starts (job_id bigint, lease uuid, attempt int, at timestamptz DEFAULT clock_timestamp());
    CREATE TABLE chaos_effects (job_id bigint, lease uuid, at timestamptz DEFAULT clock_timestamp());
    CREATE INDEX ON chaos_starts (job_id);
    CREATE INDEX ON chaos_effects (job_id);
"""
# Nothing is unique here, on purpose: what happens twice has to be seen, not refused.
START = text("INSERT INTO chaos_starts (job_id, lease, attempt) VALUES (:job_id, :lease, :attempt)")
EFFECT = text("INSERT INTO chaos_effects (job_id, lease) VALUES (:job_id, :lease)")


async def note_start(database: Database, attempt: Attempt) -> None:
    async with database.session_scope() as session:
        await session.execute(START, {"job_id": attempt.job_id, "lease": attempt.lease, "attempt": attempt.number})


def leave_row(attempt: Attempt) -> Effect:
    async def write(session: WriteSession) -> None:
        await session.execute(EFFECT, {"job_id": attempt.job_id, "lease": attempt.lease})

    return Effect(write)


def chaos_bodies(container: Container) -> Bodies:
    async def count(message: Count, attempt: Attempt) -> Effect:
        await note_start(container.database, attempt)
        await asyncio.sleep(message.seconds)
        return leave_row(attempt)

    async def compute(message: Count, attempt: Attempt) -> Effect:
        await note_start(container.database, attempt)
        await asyncio.to_thread(time.sleep, message.seconds)
        return leave_row(attempt)

    async def block(message: Block, attempt: Attempt) -> Effect:
        await note_start(container.database, attempt)
        if attempt.number == 1:
            time.sleep(message.seconds)  # noqa: ASYNC251 - that is the fault
        return leave_row(attempt)

    async def crash(_: Crash, attempt: Attempt) -> Effect:
        await note_start(container.database, attempt)
        os.kill(os.getpid(), signal.SIGKILL)
        return leave_row(attempt)

    known: Bodies = {Count: count, Compute: compute, Block: block, Crash: crash}
    future: Bodies = {Future: count, FutureCompute: compute}
    return {**known, **future} if FUTURE.keys() <= os.environ.keys() else known
