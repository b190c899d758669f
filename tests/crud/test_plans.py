"""How PostgreSQL plans the steps that every job takes."""

from sqlalchemy import text

from app.core.database import WriteSession
from app.core.jobs import JobMessage, enqueue
from app.crud.jobs import Success, jobs
from tests.support import World

FINISHED = """
    INSERT INTO jobs (name, queue, payload, max_attempts, status, published_at, started_at, finished_at)
    SELECT 'test.note', 'io', '{}', 2, 'succeeded', now(), now(), now() FROM generate_series(1, 20000)
"""
PLANS = "SELECT name, generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE 'UPDATE jobs %'"
CUSTOM_FIRST = 5
"""How often PostgreSQL plans for the values before it compares that with a plan to keep."""
ROUNDS = CUSTOM_FIRST + 5


class Note(JobMessage):
    name = "test.note"


async def planned(session: WriteSession) -> dict[str, tuple[int, int]]:
    """How often each statement of this connection was carried out by a plan that is kept, and by one for its values."""
    return {one.name: (one.generic_plans, one.custom_plans) for one in await session.execute(text(PLANS))}


async def test_the_steps_of_a_single_job_are_planned_once(world: World) -> None:
    """Publication, claim and completion keep a plan beside many finished jobs: to plan them costs what they cost."""
    await world.execute(FINISHED)
    await world.execute("ANALYZE jobs")
    # What a connection remembers of its statements is from a table of another size.
    await world.database.engine.dispose()
    async with world.database.session_scope() as session:
        for _ in range(ROUNDS):
            job_id = await enqueue(session, Note())
            assert [one.id for one in await jobs.take_unpublished(session, limit=1, names=[Note.name])] == [job_id]
            (job,) = await jobs.claim(session, [job_id], names=[Note.name], lease_seconds=30)
            assert await jobs.succeed(session, [Success(job_id, job.lease_token)])
        plans = await planned(session)
    steps = [generic for generic, custom in plans.values() if generic + custom == ROUNDS]
    assert len(steps) == 3
    assert min(steps) >= ROUNDS - CUSTOM_FIRST
