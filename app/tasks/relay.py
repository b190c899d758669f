"""Carries the ledger's jobs to the queues, takes back what was lost on the way, and fires what is due.

Any number may run at once: they share the work by row locks and need no leader.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from uuid import uuid4

from arq import ArqRedis
from celery import Celery
from redis.exceptions import RedisError

from app.core.database import AnyRow
from app.core.job_changes import CANCELLED
from app.core.jobs import JobStatus, Queue
from app.core.logging import get_logger
from app.core.metrics import (
    BACKUP_LAST_SUCCESS,
    BACKUP_LAST_VERIFIED,
    BACKUP_SIZE,
    JOBS_DEAD,
    JOBS_OLDEST_SECONDS,
    JOBS_PENDING,
    LEASES_EXPIRED,
    RELAY_LAG_SECONDS,
    RELAY_PUBLISHED,
)
from app.core.wakeup import listen
from app.crud import backups
from app.crud.jobs import jobs
from app.services.container import Container
from app.tasks.bodies import bodies
from app.tasks.broker import put_arq_messages
from app.tasks.cancellation import came, cancel
from app.tasks.celery_sender import CelerySender
from app.tasks.scheduler import Scheduler
from app.tasks.schedules import schedules
from app.tasks.spans import publishing_spans

log = get_logger(__name__)
BATCH = 200
EPOCH_KEY = "frontdesk:epoch"
SCHEDULES_INTERVAL = 60.0
MEASURE_INTERVAL = 10.0
_REDIS_AWAY = (RedisError, OSError, TimeoutError)


class Relay:
    def __init__(
        self,
        container: Container,
        arq: ArqRedis,
        celery: Celery,
        *,
        names: Collection[str] | None = None,
        published: Callable[[], None] = lambda: None,
        on_cancellation: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`published` is told that there is something in a queue, `on_cancellation` of a job that was cancelled.

        Published are the jobs in `names`: those of this version, if unset, because its workers know no others.
        """
        self._container = container
        self._database = container.database
        self._settings = container.settings.jobs
        self._arq = arq
        self._published = published
        self._on_cancellation = on_cancellation
        known = bodies(container)
        self._names = {kind.name for kind in known} if names is None else names
        self._caps = {kind.name: kind.max_running for kind in known if kind.max_running is not None}
        # What is claimed and does not begin because its child was killed has lost an attempt.
        small = {kind.name for kind in known if kind.max_running is None and kind.retry.max_attempts > 1}
        self._sender = CelerySender(celery, small=small, patience=container.settings.redis.timeout)
        self._scheduler = Scheduler(container.database, schedules(container.settings))
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._epoch: bytes | None = None

    async def run(self) -> None:
        """Work until `stop`. Whatever fails is logged and tried again: the ledger has it all."""
        listening = asyncio.create_task(self.listen())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._every(self._settings.relay_interval, self.publish, wake=self._wake))
                group.create_task(self._every(self._settings.reap_interval, self.reap))
                group.create_task(self._every(MEASURE_INTERVAL, self.measure))
                group.create_task(self._every(SCHEDULES_INTERVAL, self._scheduler.fire))
        finally:
            await cancel(listening, within=5)
            await asyncio.to_thread(self._sender.close)

    async def listen(self) -> None:
        """Hear of new work, and of jobs that were cancelled, until this is cancelled itself."""
        await listen(self._container.redis, self._wake.set, {CANCELLED: self._cancelled})

    def stop(self) -> None:
        """End `run` once the steps under way are done: a connection cut off in the middle of its making complains."""
        self._stopping.set()
        self._wake.set()

    async def _every(
        self, seconds: float, step: Callable[[], Awaitable[float | None]], *, wake: asyncio.Event | None = None
    ) -> None:
        """Take `step` every `seconds`, or sooner when it says so."""
        while not self._stopping.is_set():
            pause: float | None = None
            try:
                pause = await step()
            except Exception as error:  # noqa: BLE001 - the relay outlives every fault of its parts
                log.warning("relay step failed", step=step.__name__, error=repr(error))
            await came(wake or self._stopping, within=seconds if pause is None else min(pause, seconds))
            if wake:
                wake.clear()

    def _cancelled(self, job_id: bytes) -> None:
        if job_id.isdigit():
            self._on_cancellation(int(job_id))

    async def publish(self) -> float | None:
        """Give every due job to its queue; the seconds until the next one is due, if that is known."""
        await self._notice_lost_queues()
        while not self._stopping.is_set():
            due_in = await jobs.next_due(self._database.read)
            if due_in is None or due_in > 0:
                return due_in
            found = False
            async for batch in self._taken():
                found = True
                refused = await self._send(batch)
                if refused:
                    await jobs.unpublish(self._database.single, refused)
                    return None
                self._published()
            if not found:
                return None
        return None

    async def _taken(self) -> AsyncIterator[Sequence[AnyRow]]:
        """Due jobs, marked as published: each batch is to be handed over before the next is taken.

        What fails on the way to the next would leave this one marked and not sent, until its messages are given up.
        """
        caps = {name: cap for name, cap in self._caps.items() if name in self._names}
        free = set(self._names) - caps.keys()
        if batch := await jobs.take_unpublished(self._database.single, limit=BATCH, names=free):
            yield batch
        for name, room in (await jobs.room(self._database.read, caps)).items():
            if batch := await jobs.take_unpublished(self._database.single, limit=room, names=[name]):
                yield batch

    async def _send(self, batch: Sequence[AnyRow]) -> list[int]:
        """Hand messages over outside of any transaction; gives the ids that were not taken."""
        with publishing_spans(batch):
            return await self._hand_over(batch)

    async def _hand_over(self, batch: Sequence[AnyRow]) -> list[int]:
        by_io = [row for row in batch if row.queue is Queue.IO]
        by_cpu = [row for row in batch if row.queue is Queue.CPU]
        refused: list[int] = []
        for queue, rows, send in ((Queue.IO, by_io, self._send_io), (Queue.CPU, by_cpu, self._send_cpu)):
            try:
                await send(rows)
                RELAY_PUBLISHED.labels(queue.value).inc(len(rows))
                for row in rows:
                    if row.publications == 1:
                        RELAY_LAG_SECONDS.labels(queue.value).observe(float(row.lag))
            except Exception as error:  # noqa: BLE001 - whatever a queue says, the jobs stay in the ledger
                log.warning("queue is away, its jobs wait in the ledger", queue=queue.value, error=repr(error))
                refused += [row.id for row in rows]
        return refused

    async def _send_io(self, rows: Sequence[AnyRow]) -> None:
        # By the attempt: what is published again, because it may have been lost, replaces what was not lost. Otherwise
        # each restart of a worker would double a backlog.
        await put_arq_messages(self._arq, {f"{row.id}-{row.attempt}": (row.id, row.priority) for row in rows})

    async def _send_cpu(self, rows: Sequence[AnyRow]) -> None:
        if rows:
            await asyncio.to_thread(self._sender.send, rows)

    async def _notice_lost_queues(self) -> None:
        """A mark that is gone from Redis means that the queues are gone too: publish everything again at once."""
        redis = self._container.redis
        try:
            present = await redis.get(EPOCH_KEY)
            if present is None:
                await redis.set(EPOCH_KEY, uuid4().hex, nx=True)
                present = await redis.get(EPOCH_KEY)
        except _REDIS_AWAY:
            return
        if present != self._epoch:
            # Also at the first look: nobody knows what the queues still hold, and publishing twice is harmless.
            again = await jobs.unpublish_all(self._database.single)
            if again:
                log.warning("the queues may have been emptied; publishing again", jobs=again)
            self._epoch = present

    async def reap(self) -> None:
        """Take back jobs whose worker stopped answering, and messages that nobody claimed."""
        if not await jobs.is_overdue(self._database.read, older_than=self._settings.republish_after):
            return
        for row in await jobs.reap(self._database.single):
            LEASES_EXPIRED.inc()
            if row.status is JobStatus.FAILED:
                JOBS_DEAD.labels(row.name).inc()
            log.warning("lease expired", job_id=row.id, job=row.name, attempt=row.attempt, outcome=row.status.value)
        await jobs.unpublish_stale(self._database.single, older_than=self._settings.republish_after)
        self._wake.set()

    async def measure(self) -> None:
        """Say how many jobs wait and run, how long the oldest has waited, and when the last backup was made."""
        for queue in Queue:
            JOBS_OLDEST_SECONDS.labels(queue.value).set(0)
            for status in ("queued", "running"):
                JOBS_PENDING.labels(queue.value, status).set(0)
        for queue, status, number, age in await jobs.counts(self._database.read):
            JOBS_PENDING.labels(queue.value, status.value).set(number)
            if status.value == "queued":
                JOBS_OLDEST_SECONDS.labels(queue.value).set(float(age))
        backup = await backups.last(self._database.read)
        BACKUP_LAST_SUCCESS.set(backup.at.timestamp() if backup.at else 0)
        BACKUP_LAST_VERIFIED.set(backup.verified_at.timestamp() if backup.verified_at else 0)
        BACKUP_SIZE.set(backup.size or 0)
