"""How a cancellation reaches whoever runs the job."""

import asyncio
import threading
from typing import Any, ClassVar

import httpx

from app.config import JobSettings
from app.core.job_changes import CANCELLED, RedisAnnouncer, use_announcer
from app.core.jobs import JobMessage, JobStatus, enqueue
from app.services.container import Container
from app.tasks.attempt import Attempt, Runner
from app.tasks.relay import Relay
from app.tasks.threads import CountedThreads
from tests.support import API, World, eventually


class Note(JobMessage):
    name: ClassVar[str] = "test.note"


async def test_a_cancellation_reaches_the_worker_before_the_next_beat(
    world: World, client: httpx.AsyncClient, container: Container, relay: Relay
) -> None:
    """It is announced over Redis, and the runner that hears of it looks at once: here the next beat is far away."""
    admin, begun = await world.admin(), asyncio.Event()

    async def body(_: Any, __: Attempt) -> None:
        begun.set()
        await asyncio.sleep(60)

    slow = Runner(world.database, {Note: body}, JobSettings(lease=60, heartbeat=30))
    relay._on_cancellation = slow.look_after
    listening = asyncio.create_task(relay.listen())
    use_announcer(RedisAnnouncer(container.redis))
    try:

        async def heard() -> bool:
            return bool((await container.redis.pubsub_numsub(CANCELLED))[0][1])

        await eventually(heard)
        async with world.database.session_scope() as session:
            job_id = await enqueue(session, Note())
        task = asyncio.create_task(slow.run(job_id))
        await begun.wait()
        await client.post(f"{API}/jobs/{job_id}/cancel", headers=admin.headers)
        async with asyncio.timeout(8):
            assert await task is JobStatus.CANCELLED
    finally:
        use_announcer(None)
        listening.cancel()


def test_threads_are_known_to_be_at_rest_or_not() -> None:
    """A computation that nobody waits for any more is noticed for as long as it goes on, and not after."""
    threads, go = CountedThreads(), threading.Event()
    assert threads.come_to_rest(within=0)
    future = threads.submit(go.wait)
    assert not threads.come_to_rest(within=0.2)
    go.set()
    assert future.result(timeout=5)
    assert threads.come_to_rest(within=5)
    threads.shutdown()
