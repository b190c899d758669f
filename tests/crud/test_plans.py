"""How PostgreSQL plans the steps that every job takes."""

from sqlalchemy import text

from app.core.jobs import JobMessage, enqueue
from app.crud.jobs import Success, jobs
from tests.support import World

FINISHED = """
    INSERT INTO jobs (name, queue, payload, max_attempts, status, published_at, started_at, finished_at)
    SELECT 'test.note', 'io', '{}', 2, 'succeeded', now(), now(), now() FROM generate_series(1, 20000)
"""
PLANS = "SELECT statement, generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE 'UPDATE jobs %'"
CUSTOM_FIRST = 5
"""How often PostgreSQL plans for the values before it compares that with a plan to keep."""


class Note(JobMessage):
    name = "test.note"


async def test_the_steps_of_a_single_job_are_planned_once(world: World) -> None:
    """Publication, claim and completion keep a plan beside many finished jobs: to plan them costs what they cost."""
    await world.execute(FINISHED)
    await world.execute("ANALYZE jobs")
    async with world.database.session_scope() as session:
        for _ in range(CUSTOM_FIRST + 5):
            job_id = await enqueue(session, Note())
            assert [one.id for one in await jobs.take_unpublished(session, limit=1)] == [job_id]
            (job,) = await jobs.claim(session, [job_id], names=[Note.name], lease_seconds=30)
            assert await jobs.succeed(session, [Success(job_id, job.lease_token)])
        plans = (await session.execute(text(PLANS))).all()
    assert len(plans) == 3
    assert all(one.generic_plans >= 5 and one.custom_plans <= CUSTOM_FIRST for one in plans), plans
