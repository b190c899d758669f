"""The producer: accepts jobs through the service's own code at a steady rate, and remembers which were accepted."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from app.core.database import Database
from app.core.jobs import JobMessage, enqueue_many
from tests.chaos.messages import Compute, Count

IO_SECONDS, CPU_SECONDS = 0.05, 0.02


@dataclass
class Accepted:
    """What the producer was told. `doubtful` are numbers of countable jobs whose commit was not confirmed."""

    ids: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)
    doomed: set[int] = field(default_factory=set)
    """Accepted jobs that have to end as failed."""


class Producer:
    def __init__(self, database: Database, rng: random.Random, others: Callable[[], JobMessage]) -> None:
        self.accepted = Accepted()
        self._database, self._rng, self._others = database, rng, others
        self._number = 0

    def number(self) -> int:
        self._number += 1
        return self._number

    def count(self, **values: float) -> Count:
        return Count(number=self.number(), **{"seconds": self._rng.uniform(0, IO_SECONDS), **values})

    def compute(self, **values: float) -> Compute:
        return Compute(number=self.number(), **{"seconds": self._rng.uniform(0, CPU_SECONDS), **values})

    async def send(self, *messages: JobMessage, doomed: bool = False, run_at: datetime | None = None) -> list[int]:
        """Accept these jobs in one transaction; their ids. Whatever the database says is raised."""
        numbers: set[int] = {number for one in messages if (number := getattr(one, "number", None)) is not None}
        self.accepted.doubtful |= numbers
        async with self._database.session_scope() as session:
            ids = await enqueue_many(session, messages, run_at=run_at)
        self.accepted.doubtful -= numbers
        self.accepted.numbers |= numbers
        self.accepted.ids |= set(ids)
        if doomed:
            self.accepted.doomed |= set(ids)
        return ids

    def some(self) -> Sequence[JobMessage]:
        """A few jobs as a service accepts them: mostly I/O, some CPU, some real mails and reports among them."""
        kind = self._rng.random()
        if kind < 0.6:
            return [self.count()]
        if kind < 0.75:
            return [self.count() for _ in range(self._rng.randint(2, 5))]
        return [self.compute()] if kind < 0.87 else [self._others()]

    @asynccontextmanager
    async def steady(self, per_second: float) -> AsyncIterator[None]:
        """Accept jobs at this rate until the block ends, whatever happens to the engines meanwhile."""
        task = asyncio.create_task(self._produce(per_second))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _produce(self, per_second: float) -> None:
        while True:
            try:
                await self.send(*self.some())
            except Exception:  # noqa: BLE001 - the database is away: a client would be told so
                await asyncio.sleep(0.1)
            await asyncio.sleep(self._rng.expovariate(per_second))
