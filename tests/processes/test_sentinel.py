"""With sentinels in REDIS_URL another server takes over, and nobody has to do anything."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from limits.aio.storage import RedisStorage
from pydantic import SecretStr
from redis.exceptions import RedisError

from app.config import RedisSettings, Settings
from app.services.container import build
from tests.processes.ledger import Ledger
from tests.processes.process import Spawn
from tests.processes.sentinel import Sentinels
from tests.support import eventually


@pytest.fixture
async def sentinels(tmp_path: Path) -> AsyncIterator[Sentinels]:
    made = Sentinels(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_service_outlives_the_primary(
    ledger: Ledger, spawn: Spawn, settings: Settings, sentinels: Sentinels
) -> None:
    """The primary is killed with jobs on their way: all are done once, and whoever had a connection gets another."""
    redis = RedisSettings(url=SecretStr(sentinels.url))
    container = build(settings.model_copy(update={"redis": redis}), role="api")
    over = {"REDIS_URL": sentinels.url, "LOG_FORMAT": "json"}
    worker, celery = await asyncio.gather(*(spawn(name, **over).ready() for name in ("worker", "celery")))
    try:
        await container.redis.set("of the primary", "kept")
        for job_id in await ledger.send(await ledger.mail(), ledger.report()):
            await ledger.reached(job_id, "succeeded", seconds=60)
        ids = await ledger.send(*(ledger.report() for _ in range(3)), *[await ledger.mail() for _ in range(20)])
        sentinels.primary.kill()
        ids += await ledger.send(*[await ledger.mail() for _ in range(20)])
        with pytest.raises((RedisError, OSError)):
            await container.redis.ping()

        async def healed() -> bool:
            try:
                return bool(await container.redis.get("of the primary") == b"kept")
            except (RedisError, OSError):
                return False

        await eventually(healed, seconds=30)
        assert sentinels.replica.info("replication")["role"] == "master"
        pool = container.redis.connection_pool
        counters = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)  # type: ignore[arg-type]
        assert [await counters.incr("ann", 60) for _ in range(2)] == [1, 2]
        ids += await ledger.send(await ledger.mail(), ledger.report())
        for job_id in ids:
            assert (await ledger.reached(job_id, "succeeded", seconds=60)).attempt == 1
        for process in (worker, celery):
            assert process.is_alive
            assert (await process.get("/health/ready")).status_code == 200
    finally:
        await container.close()
