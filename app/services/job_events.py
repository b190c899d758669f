"""The changes of jobs, as they happen, for any number of onlookers in one process.

One connection to Redis brings what is announced, and one query every few seconds what was lost on the way, or all of it
while Redis is away. An onlooker holds a bounded queue and nothing else.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.config import StreamSettings
from app.core.database import Database, is_unavailable
from app.core.errors import RateLimited, Unavailable
from app.core.job_changes import CHANGED
from app.core.logging import get_logger
from app.core.shutdown import on_shutdown
from app.crud.jobs import jobs

log = get_logger(__name__)
MOST_QUEUED = 64
"""Changes kept for an onlooker that is slow; each is the whole state, so the oldest is the one to miss."""
RETRY_AFTER = 5
_AWAY = (RedisError, OSError, TimeoutError)
State = Mapping[str, Any]


@dataclass(eq=False, slots=True)
class Onlooker:
    """Gets the states of one job, each newer than the one before."""

    version: int = 0
    closed: bool = False
    _queue: deque[State] = field(default_factory=lambda: deque(maxlen=MOST_QUEUED))
    _new: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, version: int) -> None:
        """`version` is seen already; what is waiting is told in its order from there."""
        self.version = version
        waiting, self._queue = self._queue, deque(maxlen=MOST_QUEUED)
        for state in waiting:
            self.tell(state)

    def tell(self, state: State) -> None:
        if state["version"] > self.version:
            self.version = state["version"]
            self._queue.append(state)
            self._new.set()

    def close(self) -> None:
        """End the stream: its client will come again, and resume."""
        self.closed = True
        self._new.set()

    async def next(self, *, within: float) -> State | None:
        """The next state; None when there was none in time, or the stream is `closed`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not self._queue and not self.closed:
                    self._new.clear()
                    await self._new.wait()
        return self._queue.popleft() if self._queue and not self.closed else None


class JobEvents:
    """The onlookers of one process. Connects when the first one comes."""

    def __init__(self, database: Database, redis: Redis, settings: StreamSettings) -> None:
        self._database = database
        self._redis = redis
        self.settings = settings
        self._onlookers: dict[int, set[Onlooker]] = {}
        self._per_user: Counter[int] = Counter()
        self._channel: PubSub | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    @asynccontextmanager
    async def watch(self, job_id: int, *, user_id: int) -> AsyncIterator[Onlooker]:
        """Somebody who looks on until the block ends. RateLimited or Unavailable when there are too many."""
        if self._per_user[user_id] >= self.settings.per_user:
            raise RateLimited(RETRY_AFTER, "You have too many open streams.")
        if self._per_user.total() >= self.settings.open:
            raise Unavailable("Too many open streams.", retry_after=RETRY_AFTER)
        onlooker = Onlooker()
        forget = on_shutdown(onlooker.close)
        self._per_user[user_id] += 1
        self._onlookers.setdefault(job_id, set()).add(onlooker)
        try:
            await self._begin(job_id)
            yield onlooker
        finally:
            forget()
            self._per_user -= Counter([user_id])
            self._onlookers[job_id].discard(onlooker)
            if not self._onlookers[job_id]:
                del self._onlookers[job_id]

    async def close(self) -> None:
        self._closing = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)

    async def _begin(self, job_id: int) -> None:
        if not self._tasks:
            # For everybody, and not in the context of the first who asked: its trace, its user's log lines.
            self._tasks = [asyncio.create_task(work, context=Context()) for work in (self._listen(), self._look())]
        if self._channel is not None:
            # A connection that breaks is mended by the listener, which subscribes to everything anew.
            with suppress(*_AWAY):
                await self._channel.subscribe(f"{CHANGED}{job_id}")

    async def _listen(self) -> None:
        while not self._closing:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(f"{CHANGED}0", *(f"{CHANGED}{job_id}" for job_id in self._onlookers))
                    self._channel = channel
                    while not self._closing:
                        message = await channel.get_message(ignore_subscribe_messages=True, timeout=1)
                        if message is not None:
                            await self._heard(channel, message)
            except _AWAY as error:
                log.debug("not hearing of changes; looking for them", error=repr(error))
                await asyncio.sleep(1)
            finally:
                self._channel = None

    async def _heard(self, channel: PubSub, message: Mapping[str, Any]) -> None:
        job_id = int(message["channel"].removeprefix(CHANGED.encode()))
        if job_id in self._onlookers:
            self._tell(job_id, json.loads(message["data"]))
        elif job_id:
            await channel.unsubscribe(message["channel"])

    async def _look(self) -> None:
        while not self._closing:
            await asyncio.sleep(self.settings.look)
            if not self._onlookers:
                continue
            try:
                for row in await jobs.seen(self._database.read, list(self._onlookers)):
                    self._tell(row.id, dict(row._mapping))
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.debug("not looking for changes", error=repr(error))

    def _tell(self, job_id: int, state: State) -> None:
        for onlooker in self._onlookers.get(job_id, ()):
            onlooker.tell(state)
