"""At most one live job for each key."""

import asyncio
from typing import ClassVar

from app.core.jobs import JobMessage, enqueue, enqueue_many
from tests.support import World, eventually, waiting_for_lock


class Sync(JobMessage):
    name: ClassVar[str] = "test.sync"
    of: str | None

    def unique_key(self) -> str | None:
        return self.of


class Other(Sync):
    name: ClassVar[str] = "test.other"


async def send(world: World, *messages: JobMessage) -> list[int]:
    async with world.database.session_scope() as session:
        return await enqueue_many(session, messages)


async def end(world: World, job_id: int, status: str) -> None:
    await world.execute("UPDATE jobs SET status = :status WHERE id = :id", status=status, id=job_id)


async def test_a_second_job_of_a_live_key_is_the_first(world: World) -> None:
    """While one is queued, its key gives its id; another key, another name or no key adds a job; an end frees it."""
    (first,) = await send(world, Sync(of="a"))
    assert await send(world, Sync(of="a")) == [first]
    others = await send(world, Sync(of="b"), Other(of="a"), Sync(of=None), Sync(of=None))
    assert len({first, *others}) == 5
    for status in ("succeeded", "failed", "cancelled"):
        await end(world, first, status)
        (after,) = await send(world, Sync(of="a"))
        assert after != first
        first = after


async def test_a_running_job_holds_its_key(world: World) -> None:
    """A job that is being attempted is live, too."""
    (first,) = await send(world, Sync(of="a"))
    await world.execute("UPDATE jobs SET status = 'running', lease_token = gen_random_uuid()")
    assert await send(world, Sync(of="a")) == [first]


async def test_many_at_once_keep_their_order(world: World) -> None:
    """A batch with new keys, known keys, keys that come twice and none gives each message the id of its job."""
    (known,) = await send(world, Sync(of="k"))
    ids = await send(world, Sync(of="n"), Sync(of=None), Sync(of="k"), Sync(of="n"), Sync(of=None))
    assert ids[2] == known
    assert ids[0] == ids[3]
    assert len(set(ids)) == 4
    rows = await world.rows("SELECT id, payload->>'of' AS key FROM jobs")
    assert {row.id: row.key for row in rows} == {known: "k", ids[0]: "n", ids[1]: None, ids[4]: None}


async def test_rivals_in_open_transactions_make_one_job(world: World) -> None:
    """Twenty transactions that enqueue the same key at the same time leave one job, and all get its id."""
    ids = await asyncio.gather(*(send(world, Sync(of="a"), Sync(of="b")) for _ in range(20)))
    assert len({tuple(one) for one in ids}) == 1
    assert await world.count("jobs") == 2


async def test_a_job_of_a_transaction_that_rolls_back_holds_no_key(world: World) -> None:
    """A rival waits for the transaction that was first with the key, and adds its own job when that is undone."""
    async with world.database.session_scope() as session:
        gone = await enqueue(session, Sync(of="a"))
        rival = asyncio.create_task(send(world, Sync(of="a")))
        await eventually(lambda: waiting_for_lock(world))
        await session.rollback()
    (made,) = await rival
    assert made != gone
    assert [row.id for row in await world.rows("SELECT id FROM jobs")] == [made]
