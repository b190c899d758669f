"""From the ledger to the queues, and back again when something is lost on the way."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar, cast

import pytest
from arq import ArqRedis
from celery import Celery
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis.asyncio.client import PubSub
from sqlalchemy import event

from app.config import JobSettings, RedisSettings, Settings
from app.core.jobs import JobMessage, Queue, enqueue_many
from app.core.redis import make_redis
from app.core.wakeup import CHANNEL, RedisWaker
from app.services.container import Container
from app.tasks.attempt import Attempt, Runner
from app.tasks.broker import ARQ_QUEUE, CELERY_LIST, make_arq, make_celery
from app.tasks.relay import Relay
from tests.relays import make_relay
from tests.support import World, eventually


class Note(JobMessage):
    name: ClassVar[str] = "test.note"


class Sum(JobMessage):
    name: ClassVar[str] = "test.sum"
    queue: ClassVar[Queue] = Queue.CPU


async def send(world: World, *messages: JobMessage) -> list[int]:
    async with world.database.session_scope() as session:
        return await enqueue_many(session, messages)


async def io_messages(container: Container) -> list[int]:
    """The ids of the jobs in ARQ's queue, in their order. A running relay adds those of schedules, once a minute."""
    names = [name.decode() for name in await container.redis.zrange(ARQ_QUEUE, 0, -1)]
    return [int(name.split("-")[0]) for name in names]


async def cpu_messages(container: Container) -> list[int]:
    """The ids of the jobs in Celery's queue, in their order."""
    found = [
        json.loads(raw) for raw in await cast("Awaitable[list[bytes]]", container.redis.lrange(CELERY_LIST, 0, -1))
    ]
    return [int(one["headers"]["argsrepr"].strip("[],()")) for one in reversed(found)]


def unreachable(settings: Settings) -> Settings:
    """The same service, with a Redis that nobody runs."""
    redis = RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"), timeout=0.2)
    return settings.model_copy(update={"redis": redis})


async def test_each_job_is_published_once_to_its_queue(
    world: World, container: Container, relay: Relay, arq: ArqRedis, celery: Celery
) -> None:
    """Two relays at once hand over every due job exactly once, I/O to ARQ and CPU to Celery."""
    await asyncio.gather(relay.publish(), (rival := make_relay(container, arq, celery)).publish())
    io = await send(world, *(Note() for _ in range(250)))
    cpu = await send(world, *(Sum() for _ in range(20)))
    await asyncio.gather(relay.publish(), rival.publish(), relay.publish(), rival.publish())
    assert sorted(await io_messages(container)) == io
    assert sorted(await cpu_messages(container)) == cpu
    assert await world.scalar("SELECT count(*) FROM jobs WHERE publications = 1 AND published_at IS NOT NULL") == 270


@pytest.mark.parametrize(("kind", "messages"), [(Note, io_messages), (Sum, cpu_messages)])
async def test_who_came_first_is_first(
    world: World, container: Container, relay: Relay, kind: type[JobMessage], messages: Callable[..., Any]
) -> None:
    """Of one priority the queue has first what was due first, and of that what was accepted first."""
    ids = await send(world, *(kind() for _ in range(12)))
    # The table has them in another order than they became due.
    late, early = ids[:3], ids[9:]
    await world.execute("UPDATE jobs SET run_at = run_at - interval '1 second' WHERE id = ANY(:ids)", ids=early)
    await world.execute("UPDATE jobs SET run_at = run_at + interval '1 millisecond' WHERE id = ANY(:ids)", ids=late)
    await asyncio.sleep(0.01)
    await relay.publish()
    assert await messages(container) == [*early, *ids[3:9], *late]


async def test_only_json_travels(world: World, container: Container, relay: Relay) -> None:
    """What lies in Redis for either engine is JSON that names the task and the job's id, nothing of the job itself."""
    io, cpu = await send(world, Note(), Sum())
    await relay.publish()
    redis = container.redis
    (name,) = await redis.zrange(ARQ_QUEUE, 0, -1)
    message = json.loads(await redis.get(b"arq:job:" + name))
    assert (message["f"], message["a"], message["k"]) == ("run_job", [io], {})
    (raw,) = await cast("Awaitable[list[bytes]]", redis.lrange(CELERY_LIST, 0, -1))
    envelope = json.loads(raw)
    assert envelope["content-type"] == "application/json"
    assert envelope["headers"]["task"] == "run_job"
    assert envelope["properties"]["body_encoding"] == "base64"

    assert json.loads(base64.b64decode(envelope["body"]))[:2] == [[cpu], {}]
    for key in await redis.keys("*"):
        if await redis.type(key) == b"string":
            assert not (await redis.get(key)).startswith(b"\x80"), key


async def test_messages_that_redis_refuses_stay_in_the_ledger(world: World, container: Container, relay: Relay) -> None:
    """While the queues are away nothing passes for published; when they are back it is handed over at once."""
    ids = await send(world, *(Note() for _ in range(30)), Sum())
    settings = unreachable(container.settings)
    cut_off = make_relay(
        replace(container, settings=settings, redis=make_redis(settings.redis)),
        make_arq(settings),
        make_celery(settings),
    )
    await cut_off.publish()
    assert await world.scalar("SELECT count(*) FROM jobs WHERE published_at IS NULL AND status = 'queued'") == len(ids)
    await relay.publish()
    assert await io_messages(container) + await cpu_messages(container) == ids


async def test_what_is_published_again_replaces_what_was_not_lost(
    world: World, container: Container, arq: ArqRedis, celery: Celery
) -> None:
    """Workers that are restarted before a backlog, each of which publishes all of it again, do not make it longer."""
    io = await send(world, *(Note() for _ in range(30)))
    for _ in range(4):
        await world.execute("UPDATE jobs SET published_at = now() - interval '1 hour' WHERE published_at IS NOT NULL")
        await make_relay(container, arq, celery).publish()
        assert not await world.scalar("SELECT bool_or(published_at < now() - interval '1 minute') FROM jobs")
    assert await io_messages(container) == io
    assert await world.scalar("SELECT max(publications) FROM jobs") == 1, "patience begins anew with each"


async def test_emptied_queues_are_filled_again_at_once(world: World, container: Container, relay: Relay) -> None:
    """After FLUSHALL the next look of the relay publishes everything that waits, long before any message is stale."""
    ids = await send(world, Note(), Note(), Sum())
    await relay.publish()
    await world.execute("UPDATE jobs SET status = 'succeeded' WHERE id = :id", id=ids[0])
    await container.redis.flushall()
    await relay.publish()
    assert await io_messages(container) + await cpu_messages(container) == ids[1:]
    latest = "SELECT max(published_at) FROM jobs"
    published_at = await world.scalar(latest)
    await relay.publish()
    assert await world.scalar(latest) == published_at, "once is enough"


async def test_a_stale_publication_is_published_again(world: World, container: Container, relay: Relay) -> None:
    """A message that was lost on its own, without a trace, is published again after its patience."""
    (job_id,) = await send(world, Note())
    await relay.publish()
    await container.redis.delete(ARQ_QUEUE)
    await relay.reap()
    await relay.publish()
    assert await io_messages(container) == []
    await world.execute("UPDATE jobs SET published_at = now() - interval '31 s'")
    await relay.reap()
    await relay.publish()
    assert await io_messages(container) == [job_id]


async def test_the_relay_takes_back_an_expired_lease_and_publishes_it(
    world: World, container: Container, relay: Relay
) -> None:
    """A job whose worker is dead is in its queue again after one round of the relay."""
    (job_id,) = await send(world, Note())
    await world.execute(
        "UPDATE jobs SET status = 'running', attempt = 1, lease_token = gen_random_uuid(),"
        " lease_expires_at = now() - interval '1 s', published_at = now(), publications = 1"
    )
    await relay.reap()
    await relay.publish()
    assert await io_messages(container) == [job_id]


async def test_a_running_relay_is_woken_and_stops_when_asked(
    world: World, container: Container, arq: ArqRedis, celery: Celery
) -> None:
    """A wake-up call makes the relay look at once instead of at its next poll, and `stop` ends it by itself."""
    jobs = container.settings.jobs.model_copy(update={"relay_interval": 60.0})
    slow = replace(container, settings=container.settings.model_copy(update={"jobs": jobs}))
    relay = make_relay(slow, arq, celery)
    running = asyncio.create_task(relay.run())

    async def listened() -> bool:
        return bool(dict(await container.redis.pubsub_numsub(CHANNEL))[CHANNEL.encode()])

    await eventually(listened)
    (job_id,) = await send(world, Note())
    await container.redis.publish(CHANNEL, b"1")

    async def published() -> bool:
        return job_id in await io_messages(container)

    await eventually(published, seconds=10)
    relay.stop()
    async with asyncio.timeout(5):
        await running


async def test_a_relay_outlives_the_fault_of_a_step(
    world: World, container: Container, arq: ArqRedis, celery: Celery
) -> None:
    """A step that fails, whatever with, is logged and tried again; the relay goes on."""
    jobs = container.settings.jobs.model_copy(update={"relay_interval": 0.05})
    relay = make_relay(replace(container, settings=container.settings.model_copy(update={"jobs": jobs})), arq, celery)
    await world.execute("ALTER TABLE jobs RENAME COLUMN publications TO gone")
    running = asyncio.create_task(relay.run())
    try:
        (job_id,) = await send(world, Note())
        await asyncio.sleep(0.2)
        assert not running.done()
    finally:
        await world.execute("ALTER TABLE jobs RENAME COLUMN gone TO publications")

    async def published() -> bool:
        return job_id in await io_messages(container)

    await eventually(published)
    relay.stop()
    await running


async def test_wake_up_calls_coalesce(container: Container) -> None:
    """However many commits call at once, few calls travel, and one is always sent after the last commit."""
    waker = RedisWaker(container.redis)

    async def heard(channel: PubSub) -> int:
        """How many calls have been sent by the time that the waker rests."""
        assert waker._task is not None
        await waker._task
        await container.redis.publish(CHANNEL, b"the last")
        number = 0
        async with asyncio.timeout(10):
            while True:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=1)
                if message and message["data"] == b"the last":
                    return number
                number += message is not None

    async with container.redis.pubsub() as channel:
        await channel.subscribe(CHANNEL)
        for _ in range(100):
            waker.wake()
        assert 1 <= await heard(channel) <= 2
        waker.wake()
        assert await heard(channel) == 1


async def test_a_wake_up_call_does_not_fail_without_redis(container: Container) -> None:
    """With Redis away a wake-up call costs the caller nothing and raises nothing; later calls are tried again."""
    redis = make_redis(unreachable(container.settings).redis)
    waker = RedisWaker(redis)
    for _ in range(2):
        waker.wake()
        task = waker._task
        assert task is not None
        await task
    await redis.aclose(close_connection_pool=True)


async def test_the_relay_knows_when_the_next_job_is_due(world: World, relay: Relay) -> None:
    """It says how long it may sleep, so that a job of the future starts in time and an idle ledger is asked seldom."""
    assert await relay.publish() is None
    (job_id,) = await send(world, Note())
    await world.execute("UPDATE jobs SET run_at = now() + interval '20 seconds', priority = -1")
    wait = await relay.publish()
    assert wait is not None
    assert 10 < wait <= 20
    await world.execute("UPDATE jobs SET run_at = now()")
    assert await relay.publish() is None
    assert await world.scalar("SELECT published_at IS NOT NULL FROM jobs WHERE id = :id", id=job_id)


async def test_what_is_newer_than_a_worker_is_left_to_a_newer_one(
    world: World, container: Container, arq: ArqRedis, celery: Celery
) -> None:
    """An older relay doesn't publish a name it has no worker for; an older worker that gets its message gives the job
    back at once, uncounted, and a newer relay publishes it again."""
    (job_id,) = await send(world, Note())
    older = Relay(container, arq, celery)
    await older.publish()
    assert await io_messages(container) == []
    newer = make_relay(container, arq, celery)
    await newer.publish()
    assert await io_messages(container) == [job_id]
    await container.redis.delete(ARQ_QUEUE)
    assert await Runner(world.database, {}, JobSettings()).run(job_id) is None
    (left,) = await world.rows("SELECT status, attempt, publications FROM jobs")
    assert tuple(left) == ("queued", 0, 0)
    await older.publish()
    assert await io_messages(container) == []
    await newer.publish()
    assert await io_messages(container) == [job_id]


async def test_an_idle_relay_asks_little(world: World, container: Container, relay: Relay) -> None:
    """With nothing to do, a round of each step is one statement for each look, in no transaction of its own."""
    await relay.publish()
    await relay._scheduler.fire()
    asked: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement.split(maxsplit=1)[0])

    engine = container.database.read._engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        for step in (relay.publish, relay.reap, relay.measure, relay._scheduler.fire):
            await step()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert asked == ["SELECT"] * 5  # measuring looks twice: at the jobs, and at the last backup


async def test_lag_retries_and_deaths_are_counted(world: World, relay: Relay) -> None:
    """The relay's lag is observed at a job's first publication; each retry and each death counts for its name."""

    def value(metric: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(metric, labels) or 0.0

    async def fail(_: Any, attempt: Attempt) -> None:
        raise ValueError(str(attempt.number))

    (job_id,) = await send(world, Note())
    before = value("frontdesk_relay_lag_seconds_count", queue="io")
    await relay.publish()
    await world.execute("UPDATE jobs SET published_at = NULL")
    await relay.publish()
    assert value("frontdesk_relay_lag_seconds_count", queue="io") == before + 1
    runner = Runner(world.database, {Note: fail}, JobSettings())
    await world.execute("UPDATE jobs SET max_attempts = 2")
    for _ in range(2):
        await runner.run(job_id)
        await world.execute("UPDATE jobs SET run_at = now()")
    assert value("frontdesk_jobs_retried_total", name="test.note") >= 1
    dead = value("frontdesk_jobs_dead_total", name="test.note")
    assert dead >= 1
    await world.execute(
        "UPDATE jobs SET status = 'running', lease_token = gen_random_uuid(), lease_expires_at = now() - interval '1 s'"
    )
    await relay.reap()
    assert value("frontdesk_jobs_dead_total", name="test.note") == dead + 1
