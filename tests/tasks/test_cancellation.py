"""What a library that swallows cancellations can't prevent."""

import asyncio

from redis.asyncio import Redis

from app.config import Settings
from app.core.redis import make_redis
from app.tasks.cancellation import came, cancel


async def endless(redis: Redis) -> None:
    while True:
        await redis.get("key")
        await asyncio.sleep(0.05)


async def test_a_task_that_talks_to_redis_ends_whenever_it_is_cancelled(settings: Settings) -> None:
    """At whatever step of a command the cancellation arrives, the task ends; redis-py swallows it at some of them."""
    redis = make_redis(settings.redis)
    await redis.get("key")
    for steps in range(15):
        task = asyncio.create_task(endless(redis))
        for _ in range(steps):
            await asyncio.sleep(0)
        assert await cancel(task, within=5) == set(), f"after {steps} steps"
        assert task.cancelled()
    await redis.aclose(close_connection_pool=True)


async def test_a_task_that_never_ends_is_named_in_time() -> None:
    """Who waits for the end of a task that refuses to end is told after the time it gave."""
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    assert await cancel(task, within=0.3) == {task}
    release.set()
    await task


async def test_waiting_for_an_event_says_whether_it_came() -> None:
    """True once the event is set, False when the time is over."""
    event = asyncio.Event()
    assert not await came(event, within=0.01)
    event.set()
    assert await came(event, within=0.01)
