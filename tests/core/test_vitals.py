"""How a process does, as it tells Prometheus."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from sqlalchemy import text

from app.config import Settings
from app.core import vitals
from app.core.database import Database
from app.core.vitals import watch
from app.services.container import Container
from tests.support import eventually


def value(metric: str, /, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


@pytest.fixture
async def small(settings: Settings) -> AsyncIterator[Database]:
    """A database of which this process may have one connection."""
    tight = settings.database.model_copy(update={"pool_size": 1, "pool_overflow": 0, "pool_wait": 0.3})
    database = Database(tight, role="api")
    yield database
    await database.close()


@pytest.fixture
async def watched(container: Container, small: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(vitals, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(vitals, "ASK_EVERY", 0.02)
    task = asyncio.create_task(watch(small, container.redis))
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_who_waits_for_a_connection_is_counted(small: Database, watched: None) -> None:
    """With the only connection taken, the pool says so: in use, waiting, a wait, and one in vain."""

    async def shows(in_use: float, waiting: float) -> bool:
        seen = value("frontdesk_db_pool_in_use"), value("frontdesk_db_pool_waiting")
        return seen >= (in_use, waiting) and value("frontdesk_db_pool_size") == 1

    async def wait_in_vain() -> None:
        """One after another: the watch sees one of them, however slow the machine is."""
        while True:
            with pytest.raises(Exception, match="QueuePool limit"):
                await small.read.first(text("SELECT 1"))  # type: ignore[arg-type]

    async def counted() -> bool:
        return value("frontdesk_db_pool_waits_total") > waits and value("frontdesk_db_pool_timeouts_total") > timeouts

    waits, timeouts = value("frontdesk_db_pool_waits_total"), value("frontdesk_db_pool_timeouts_total")
    async with small.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        crowd = asyncio.create_task(wait_in_vain())
        await eventually(lambda: shows(1, 1))
        await eventually(counted)
        crowd.cancel()
        with pytest.raises(asyncio.CancelledError):
            await crowd
    assert await small.read.first(text("SELECT 1")) is not None  # type: ignore[arg-type]


async def test_a_taken_pool_is_no_database_that_is_away(small: Database, watched: None) -> None:
    """While every connection is taken the gauge of the database stays as it was."""

    async def up() -> bool:
        return value("frontdesk_part_up", part="database") == 1

    await eventually(up)
    async with small.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(0.5)
        assert await up()


async def test_a_blocked_event_loop_shows(watched: None) -> None:
    """A blocking call of 0.3 s is an observation above a quarter of a second, in the histogram of this process."""

    def slow() -> float:
        seen = value("frontdesk_event_loop_lag_seconds_count")
        return seen - value("frontdesk_event_loop_lag_seconds_bucket", le="0.25")

    def looks() -> float:
        return value("frontdesk_event_loop_lag_seconds_count")

    async def looked() -> bool:
        return looks() > first

    first = looks()
    await eventually(looked, every=0.01)
    before = slow()
    time.sleep(0.3)  # noqa: ASYNC251 - the very thing that is measured

    async def seen() -> bool:
        return slow() > before

    await eventually(seen)


async def test_a_redis_that_is_away_shows(small: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that does not answer is 0, the other stays 1, and the watch goes on."""
    monkeypatch.setattr(vitals, "ASK_EVERY", 0.02)
    away: Redis = Redis.from_url("redis://127.0.0.1:9/0", socket_connect_timeout=0.2)
    task = asyncio.create_task(watch(small, away))

    async def shown() -> bool:
        return (value("frontdesk_part_up", part="redis"), value("frontdesk_part_up", part="database")) == (0, 1)

    await eventually(shown)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_process_says_what_it_is_and_what_it_takes(watched: None) -> None:
    """Version, memory and processor time."""

    async def shown() -> Any:
        return value("frontdesk_resident_bytes") > 10_000_000 and value("frontdesk_cpu_seconds_total") > 0

    await eventually(shown)
    [build] = [sample for one in REGISTRY.collect() if one.name == "frontdesk_build_info" for sample in one.samples]
    assert build.labels.keys() == {"version", "python"}


async def test_a_database_without_a_pool_has_no_pool_to_show(settings: Settings) -> None:
    """A Celery child's database opens a connection when it needs one."""
    assert Database(settings.database, role="worker", pooled=False).pool_state is None
