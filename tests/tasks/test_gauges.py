"""What the I/O worker tells Prometheus of what all processes share."""

import asyncio
from pathlib import Path

from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text

from app.config import Settings
from app.core.metrics_vitals import POSTGRES_STATISTICS
from app.crud import engine_statistics
from app.services.container import build
from app.tasks.gauges import Gauges
from deploy.local.engines import PostgresEngine
from tests.outgoing import Outgoing
from tests.support import World, eventually

PIECE = "SELECT pg_switch_wal() FROM pg_logical_emit_message(false, 'a', 'piece', true)"


def value(metric: str, /, **labels: str) -> float:
    found = REGISTRY.get_sample_value(metric, labels)
    assert found is not None, metric
    return found


async def test_postgres_tells_of_itself(world: World) -> None:
    """Connections by state, limit, size and counts; a transaction that is open and old is seen with its age."""
    gauges = Gauges(world.container)
    async with world.database.engine.begin() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.execute(text("SELECT pg_sleep(0.2)"))
        await gauges.postgres()
    assert value("frontdesk_postgres_oldest_transaction_seconds") >= 0.2
    assert value("frontdesk_postgres_connections", state="idle in transaction") >= 1
    assert value("frontdesk_postgres_max_connections") >= 20
    assert value("frontdesk_postgres_size_bytes") > 1_000_000
    assert value("frontdesk_postgres_statistics", name="xact_commit") > 0

    async def none_is_open() -> bool:
        # A process of another test may be between two statements of a short one.
        await gauges.postgres()
        return value("frontdesk_postgres_connections", state="idle in transaction") == 0

    await eventually(none_is_open)


async def test_an_archive_that_takes_nothing_is_seen(settings: Settings, tmp_path: Path) -> None:
    """While no piece of the WAL can be archived it says since when; not before, after, nor when nobody archives."""
    takes = tmp_path / "takes"
    plain = {"fsync": "off"}
    archiving = {"archive_mode": "on", "archive_command": f"test -e {takes}"}
    engine = PostgresEngine(tmp_path / "server", settings=plain | archiving)
    engine.start()
    address = settings.database.model_copy(update={"url": SecretStr(engine.url)})
    container = build(settings.model_copy(update={"database": address}), role="worker", pooled=False)
    world = World(container)

    async def measured() -> float:
        return await engine_statistics.archive_fails(container.database.read)

    async def fails() -> bool:
        return await measured() > 0

    async def is_well() -> bool:
        return await measured() == 0

    try:
        assert await measured() == 0
        await world.rows(PIECE)
        await eventually(fails)
        takes.touch()
        await world.rows(PIECE)  # it tries again by itself, but a minute later
        await eventually(is_well)
        takes.unlink()
        await world.rows(PIECE)
        await eventually(fails)
        engine.stop()
        engine = PostgresEngine(tmp_path / "server", settings=plain)
        engine.start()
        assert await is_well()
    finally:
        await container.close()
        engine.stop()


async def test_redis_tells_of_itself(world: World) -> None:
    """Memory, clients and commands."""
    gauges = Gauges(world.container)
    await gauges.redis()
    before = value("frontdesk_redis_statistics", name="total_commands_processed")
    await gauges.redis()
    assert value("frontdesk_redis_statistics", name="total_commands_processed") > before
    assert value("frontdesk_redis_memory_bytes") > 100_000
    assert value("frontdesk_redis_clients") >= 1


async def test_webhooks_that_wait_are_counted_by_their_age(outgoing: Outgoing) -> None:
    """What is due and not sent counts, but not what waits for an endpoint that is paused or off."""
    gauges, world = Gauges(outgoing.container), outgoing.world
    await outgoing.subscribe("http://127.0.0.1:9/hook", "user.registered")
    await outgoing.register("ann@example.com")
    await world.execute("UPDATE webhook_deliveries SET next_attempt_at = now() - interval '90 seconds'")
    await gauges.webhooks()
    assert value("frontdesk_webhooks_pending") == 1
    assert 90 <= value("frontdesk_webhooks_oldest_seconds") < 120
    for change in ("paused_until = now() + interval '1 hour'", "paused_until = NULL, is_active = false"):
        await world.execute(f"UPDATE webhook_endpoints SET {change}")
        await gauges.webhooks()
        assert (value("frontdesk_webhooks_pending"), value("frontdesk_webhooks_oldest_seconds")) == (0, 0)


async def test_a_part_that_fails_does_not_stop_the_others(world: World) -> None:
    """With Redis away PostgreSQL is measured all the same, round after round."""
    gauges = Gauges(world.container)
    gauges._redis = Redis.from_url("redis://127.0.0.1:9/0", socket_connect_timeout=0.2)
    POSTGRES_STATISTICS.labels("xact_commit").set(-1)
    task = asyncio.create_task(gauges.run())

    async def measured() -> bool:
        return not task.done() and value("frontdesk_postgres_statistics", name="xact_commit") > 0

    await eventually(measured)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
