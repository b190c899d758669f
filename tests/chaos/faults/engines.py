"""Redis emptied, restarted, cut off, hung and full; PostgreSQL crashed, and all of its connections cut."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from tests.chaos.scene import Fault, Scene
from tests.chaos.stage import PATIENT

ALL = ("worker", "celery")
PROMPT = 5.0
"""Seconds in which a job is accepted, whatever Redis does."""
DONE = "SELECT count(*) = 0 FROM jobs WHERE id = ANY (:ids) AND status <> 'succeeded'"


@asynccontextmanager
async def _redis(scene: Scene) -> AsyncIterator[Redis]:
    redis = Redis.from_url(scene.stage.valkey.url)
    try:
        yield redis
    finally:
        await redis.aclose()


async def _backlog(scene: Scene) -> None:
    """Enough jobs that messages lie in the queues."""
    await scene.producer.send(
        *(scene.producer.count() for _ in range(60)), *(scene.producer.compute() for _ in range(8))
    )
    await asyncio.sleep(scene.rng.uniform(0, 0.4))


async def _accept(scene: Scene) -> list[int]:
    """Jobs that are accepted while Redis is in trouble: it is nobody's business who only has work."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(PROMPT):
            return await scene.producer.send(*(scene.producer.count() for _ in range(10)))
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody may have to hear of it
        scene.expect(False, f"not accepted, after {time.monotonic() - began:.1f} s: {error!r}")
        return []


async def flushall(scene: Scene) -> None:
    async with _redis(scene) as redis:
        for _ in range(scene.times(10, 2)):
            await _backlog(scene)
            await redis.flushall()
            await scene.hit()
            await scene.recovered()


async def redis_restart(scene: Scene) -> None:
    """It keeps nothing, so it comes back empty."""
    for _ in range(scene.times(5, 1)):
        await _backlog(scene)
        await _away(scene, scene.rng.uniform(0, 1))
        await scene.hit()
        await scene.recovered()


async def redis_away(scene: Scene) -> None:
    await _backlog(scene)
    await _away(scene, 60 if scene.share else 5)
    await scene.hit()


async def _away(scene: Scene, seconds: float) -> None:
    assert scene.stage.valkey.pid is not None
    os.kill(scene.stage.valkey.pid, signal.SIGKILL)
    await _accept(scene)
    await asyncio.sleep(seconds)
    scene.stage.valkey.start()


async def redis_hangs(scene: Scene) -> None:
    """It takes connections and answers nothing. What runs already is done meanwhile."""
    for _ in range(scene.times(5, 1)):
        under_way = await scene.producer.send(*(scene.producer.count(seconds=2) for _ in range(5)))
        await scene.until("SELECT count(*) = 5 FROM chaos_starts WHERE job_id = ANY (:ids)", ids=under_way)
        await _backlog(scene)
        assert scene.stage.valkey.pid is not None
        os.kill(scene.stage.valkey.pid, signal.SIGSTOP)
        try:
            await _accept(scene)
            await asyncio.sleep(scene.rng.uniform(3, 8))
            await scene.until(DONE, ids=under_way, seconds=10)
        except AssertionError:
            scene.expect(False, "what ran already waited for Redis")
        finally:
            os.kill(scene.stage.valkey.pid, signal.SIGCONT)
        await scene.hit()
        await scene.recovered()


async def redis_full(scene: Scene) -> None:
    """Every write is refused, reads are answered."""
    async with _redis(scene) as redis:
        for _ in range(scene.times(2, 1)):
            await _backlog(scene)
            waiting = await scene.producer.send(*(scene.producer.compute(seconds=0.5) for _ in range(8)))
            # Celery takes most of them while nobody can note that it has.
            published = "SELECT count(*) = 0 FROM jobs WHERE id = ANY (:ids) AND published_at IS NULL"
            await scene.until(published, ids=waiting)
            await redis.config_set("maxmemory", 1)
            ids = await _accept(scene)
            await asyncio.sleep(15 if scene.share else 4)
            await redis.config_set("maxmemory", 0)
            await scene.hit()
            await scene.recovered()
            # A refusal does not count. One that was taken for a delivery is made good for by a second one.
            again = await scene.scalar(
                "SELECT count(*) FROM jobs WHERE id = ANY (:ids) AND publications > attempt", ids=ids
            )
            scene.expect(not again, f"{again} of {len(ids)} messages that Redis had refused were believed to be there")


async def postgres_crash(scene: Scene) -> None:
    """What `pg_ctl stop -m immediate` does: it ends without a checkpoint and recovers from its log."""
    for _ in range(scene.times(5, 1)):
        await _backlog(scene)
        assert scene.stage.postgres.pid is not None
        os.kill(scene.stage.postgres.pid, signal.SIGQUIT)
        await asyncio.sleep(scene.rng.uniform(0.3, 2))
        scene.stage.postgres.start()
        await scene.hit()
        await scene.recovered()


async def backends(scene: Scene) -> None:
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = user"
    )
    for _ in range(scene.times(10, 2)):
        await _backlog(scene)
        # Again and again, so that every part of both workers is hit in the middle of a step.
        for _ in range(10):
            await scene.rows(cut)
            await asyncio.sleep(scene.rng.uniform(0.05, 0.2))
        await scene.hit()
        await scene.recovered()


FAULTS = (
    Fault(
        "flushall",
        "FLUSHALL under load",
        ALL,
        flushall,
        in_short=True,
        within=25,
        holds="published again at once, not when a message is given up",
        env=PATIENT,
    ),
    Fault(
        "redis-restart",
        "Redis killed and restarted empty under load",
        ALL,
        redis_restart,
        within=30,
        holds="published again at once; both workers reconnect",
        env=PATIENT,
    ),
    Fault(
        "redis-away",
        "Redis away for 60 s (short form: 5 s)",
        ALL,
        redis_away,
        within=30,
        holds="work is accepted meanwhile; both workers reconnect",
        env=PATIENT,
    ),
    Fault(
        "redis-hangs",
        "Redis hangs for 3 to 8 s",
        ALL,
        redis_hangs,
        within=30,
        holds="nothing waits for it for long; both workers go on",
    ),
    Fault(
        "redis-full",
        "Redis at maxmemory",
        ALL,
        redis_full,
        within=30,
        holds="work is accepted meanwhile, and published once there is room",
    ),
    Fault(
        "postgres-crash",
        "PostgreSQL stopped with -m immediate",
        ALL,
        postgres_crash,
        in_short=True,
        within=30,
        holds="what was accepted is there; what was not is not",
    ),
    Fault("backends", "every database connection terminated", ALL, backends, within=25, holds="both workers reconnect"),
)
