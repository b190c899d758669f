"""The pool of connections to the database, which tells who waits for one."""

from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import AsyncAdaptedQueuePool, NullPool, Pool
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.config import DatabaseSettings
from app.core.metrics_vitals import POOL_TIMEOUTS, POOL_WAITS


@dataclass(frozen=True, slots=True)
class PoolState:
    size: int
    in_use: int
    waiting: int


class MeasuredPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool, except that it counts those who find every connection taken."""

    _waiting = 0

    @property
    def state(self) -> PoolState:
        return PoolState(self.size() + self._max_overflow, self.checkedout(), self._waiting)

    def _do_get(self) -> Any:
        if self.checkedout() < self.size() + self._max_overflow:
            return super()._do_get()
        POOL_WAITS.inc()
        self._waiting += 1
        try:
            return super()._do_get()
        except PoolTimeoutError:
            POOL_TIMEOUTS.inc()
            raise
        finally:
            self._waiting -= 1


def state_of(*pools: Pool) -> PoolState | None:
    """How full they are together; None when none of them holds anything."""
    states = [pool.state for pool in pools if isinstance(pool, MeasuredPool)]
    if not states:
        return None
    return PoolState(*(sum(figures) for figures in zip(*map(astuple, states), strict=True)))


def pool_options(settings: DatabaseSettings, *, pooled: bool) -> dict[str, Any]:
    """What `create_async_engine` is told of the pool."""
    if not pooled:
        return {"poolclass": NullPool}
    return {
        "poolclass": MeasuredPool,
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_overflow,
        "pool_timeout": settings.pool_wait,
        "pool_use_lifo": True,
    }
