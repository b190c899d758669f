"""Reads that may be some seconds old come from a replica, as long as it is no further behind (docs/decisions/0097)."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from sqlalchemy import Executable, func, literal_column, select

from app.config import DatabaseSettings
from app.core.database import ANSWER_WITHIN, AnyRow, Database, ReadSession, Values, is_retryable, is_unavailable
from app.core.engine import Role, make_engine
from app.core.logging import get_logger
from app.core.metrics import LIST_READS, REPLICA_LAG_SECONDS

log = get_logger(__name__)
LOOK_EVERY, LOOK_WITHIN = 1.0, 0.5
READ_WITHIN = 1.0
"""Seconds after which a request takes the primary instead; a worker waits for as long as its statements may take."""

_WRITTEN = select(
    literal_column("CAST(pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS bigint)"), func.clock_timestamp()
)
_REPLAYED = select(
    func.pg_is_in_recovery(),
    literal_column("CAST(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') AS bigint)"),
    func.pg_last_xact_replay_timestamp(),
)


class ReplicaSession(ReadSession):
    """A ReadSession on the replica; on the primary when the replica is away, or further behind than `bound` seconds."""

    def __init__(self, primary: ReadSession, replica: ReadSession, *, bound: float, within: float | None) -> None:
        self._primary = primary
        self._replica = replica
        self._bound = bound
        self._within = within
        self._look_at = 0.0
        self._lag: float | None = None
        self._told = False

    async def state(self) -> str:
        """`ok`, or why lists are read from the primary."""
        await self._look()
        if self._lag is None:
            return "away: lists are read from the primary"
        return "ok" if self._lag <= self._bound else "too far behind: lists are read from the primary"

    async def _run(self, statement: Executable, values: Values = None) -> Sequence[AnyRow]:
        async with asyncio.timeout(self._within):
            if monotonic() >= self._look_at:
                await self._look()
            if self._lag is not None and self._lag <= self._bound:
                try:
                    rows = await self._replica.rows(statement, values)
                except Exception as error:
                    # Retryable is what replaying has cancelled; it would be again.
                    if not is_unavailable(error) and not is_retryable(error):
                        raise
                    self._know(None, error)
                else:
                    LIST_READS.labels("replica").inc()
                    return rows
            LIST_READS.labels("primary").inc()
            return await self._primary.rows(statement, values)

    async def _look(self) -> None:
        """Ask both how far they are. Whoever comes meanwhile goes by the last answer."""
        self._look_at = monotonic() + LOOK_EVERY
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                ((written, now),) = await self._primary.rows(_WRITTEN)
                ((is_replica, replayed, newest),) = await self._replica.rows(_REPLAYED)
        except Exception as error:
            if not is_unavailable(error):
                raise
            self._know(None, error)
        else:
            self._know(_lag(written, now, is_replica=is_replica, replayed=replayed, newest=newest))

    def _know(self, lag: float | None, error: Exception | None = None) -> None:
        self._lag = lag
        REPLICA_LAG_SECONDS.set(float("nan") if lag is None else lag)
        usable = lag is not None and lag <= self._bound
        if not usable and not self._told:
            log.warning("lists are read from the primary", lag=lag, error=error and repr(error))
        elif usable and self._told:
            log.info("lists are read from the replica again")
        self._told = not usable


def _lag(written: int, now: Any, *, is_replica: bool, replayed: int | None, newest: Any) -> float | None:
    """Seconds by which the replica is behind at most: as old as the last commit it has, unless it has them all.

    Both times are the primary's. None: it is no replica, or nothing is known.
    """
    if not is_replica or replayed is None:
        return None
    if replayed >= written:
        return 0.0
    return None if newest is None else max(0.0, (now - newest).total_seconds())


def read_lists_from_replica(database: Database, settings: DatabaseSettings, *, role: Role, pooled: bool) -> None:
    """Give the database its replica, where the settings name one."""
    if not settings.replica_url.get_secret_value():
        return
    engine = make_engine(settings.model_copy(update={"url": settings.replica_url}), role=role, pooled=pooled)
    api = role == "api"
    replica = ReadSession(engine, patience=READ_WITHIN if api else None)
    lists = ReplicaSession(database.read, replica, bound=settings.replica_lag, within=ANSWER_WITHIN if api else None)
    database.read_lists_from(lists, engine)
