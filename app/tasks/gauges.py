"""What the I/O worker tells Prometheus of what all processes share: PostgreSQL, Redis, and webhooks that wait."""

import asyncio

from app.core.logging import get_logger
from app.core.metrics import WEBHOOKS_OLDEST_SECONDS, WEBHOOKS_PENDING
from app.core.metrics_vitals import (
    POSTGRES_ARCHIVE_FAILS_SECONDS,
    POSTGRES_CONNECTIONS,
    POSTGRES_LOCK_WAITS,
    POSTGRES_MAX_CONNECTIONS,
    POSTGRES_OLDEST_SECONDS,
    POSTGRES_SIZE_BYTES,
    POSTGRES_STATISTICS,
    REDIS_CLIENTS,
    REDIS_MEMORY_BYTES,
    REDIS_MEMORY_LIMIT_BYTES,
    REDIS_STATISTICS,
)
from app.core.vitals import is_being_cancelled
from app.crud import engine_statistics
from app.crud.webhook_deliveries import webhook_deliveries
from app.services.container import Container

log = get_logger(__name__)
MEASURE_EVERY = 10.0
STATES = ("active", "idle", "idle in transaction", "idle in transaction (aborted)", "hidden")
COUNTED_BY_REDIS = (
    "total_commands_processed",
    "rejected_connections",
    "evicted_keys",
    "keyspace_hits",
    "keyspace_misses",
)


class Gauges:
    def __init__(self, container: Container) -> None:
        self._read = container.database.read
        self._redis = container.redis

    async def run(self) -> None:
        """Measure until cancelled; a part that does not answer keeps its last values, and frontdesk_part_up says so."""
        while not is_being_cancelled():
            for measure in (self.webhooks, self.postgres, self.redis):
                try:
                    await measure()
                except Exception as error:  # noqa: BLE001 - a gauge is not worth a worker
                    log.debug("not measured", what=measure.__name__, error=repr(error))
            await asyncio.sleep(MEASURE_EVERY)

    async def webhooks(self) -> None:
        number, age = await webhook_deliveries.due(self._read)
        WEBHOOKS_PENDING.set(number)
        WEBHOOKS_OLDEST_SECONDS.set(age)

    async def postgres(self) -> None:
        states = dict.fromkeys(STATES, 0) | await engine_statistics.connections(self._read)
        for state, number in states.items():
            POSTGRES_CONNECTIONS.labels(state).set(number)
        if (server := await engine_statistics.server(self._read)) is not None:
            POSTGRES_MAX_CONNECTIONS.set(server.max_connections)
            POSTGRES_SIZE_BYTES.set(server.size)
            POSTGRES_LOCK_WAITS.set(server.lock_waits)
            POSTGRES_OLDEST_SECONDS.set(float(server.oldest))
        POSTGRES_ARCHIVE_FAILS_SECONDS.set(await engine_statistics.archive_fails(self._read))
        if (counted := await engine_statistics.counted(self._read)) is not None:
            for name in engine_statistics.COUNTED:
                POSTGRES_STATISTICS.labels(name).set(counted._mapping[name])

    async def redis(self) -> None:
        said = await self._redis.info()
        REDIS_MEMORY_BYTES.set(said["used_memory"])
        REDIS_MEMORY_LIMIT_BYTES.set(said["maxmemory"])
        REDIS_CLIENTS.set(said["connected_clients"])
        for name in COUNTED_BY_REDIS:
            REDIS_STATISTICS.labels(name).set(said[name])
