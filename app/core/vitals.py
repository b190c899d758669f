"""How this process does, for a graph: its event loop, its pool, its memory, and whether what it needs answers."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.core.database import Database, ping
from app.core.metrics import describe_build
from app.core.metrics_vitals import (
    CPU_SECONDS,
    LOOP_LAG_SECONDS,
    PART_UP,
    POOL_IN_USE,
    POOL_SIZE,
    POOL_WAITING,
    PROCESSES,
    RESIDENT_BYTES,
)

LOOK_EVERY = 0.5
ASK_EVERY, ANSWER_WITHIN = 5.0, 4.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


def is_being_cancelled() -> bool:
    """Whether this task was asked to end: redis-py, on Python 3.11, may swallow the exception that says so."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def watch(database: Database, redis: Redis) -> None:
    """Look and ask until cancelled."""
    describe_build()
    PROCESSES.set(1)
    async with asyncio.TaskGroup() as group:
        group.create_task(_look(database))
        group.create_task(_ask({"database": lambda: ping(database.read), "redis": redis.ping}))


async def _look(database: Database) -> None:
    loop, spent = asyncio.get_running_loop(), 0.0
    while not is_being_cancelled():
        asked = loop.time()
        await asyncio.sleep(LOOK_EVERY)
        LOOP_LAG_SECONDS.observe(max(0.0, loop.time() - asked - LOOK_EVERY))
        so_far = time.process_time()
        CPU_SECONDS.inc(so_far - spent)
        spent = so_far
        RESIDENT_BYTES.set(_resident())
        if (pool := database.pool_state) is not None:
            POOL_SIZE.set(pool.size)
            POOL_IN_USE.set(pool.in_use)
            POOL_WAITING.set(pool.waiting)


async def _ask(parts: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
    while not is_being_cancelled():
        for part, ask in parts.items():
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    await ask()
            except PoolTimeoutError:
                # Every connection is taken: that says nothing of the server, and has a metric of its own.
                continue
            except Exception:  # noqa: BLE001 - any failure of a part is what this gauge reports
                PART_UP.labels(part).set(0)
            else:
                PART_UP.labels(part).set(1)
        await asyncio.sleep(ASK_EVERY)


def _resident() -> int:
    """Bytes; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
