"""Sends webhooks, beside the relay in each I/O worker. Any number may run at once: they take turns at claiming.

A delivery waits for a stranger's server. So it takes no slot of the jobs, and no endpoint more than its share of these.
"""

import asyncio
import time
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from app.core.batching import Batcher
from app.core.database import AnyRow, is_retryable, is_unavailable
from app.core.logging import get_logger
from app.core.metrics import WEBHOOK_SECONDS, WEBHOOKS
from app.core.wakeup import listen
from app.crud.webhook_deliveries import LONG
from app.services.container import Container
from app.services.webhook_delivery import LEASE_SECONDS, Sent
from app.tasks.cancellation import came, cancel

log = get_logger(__name__)
BREATH = 0.05
"""Seconds between two claims: what comes in between is claimed together."""
LONG_SECONDS = LONG.total_seconds()
"""An attempt that has lasted for longer waits beside the slots: all of them together hold half of these at most."""
EXPIRE_INTERVAL = 60.0
STOP_SECONDS = 2.0
OUTCOMES = 200
MOST_AT_ONCE = 4
"""Attempts under way for each slot, those that wait beside them included."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    since: float
    failing: bool


class Deliverer:
    def __init__(self, container: Container) -> None:
        self._container = container
        self._deliveries = container.deliveries
        self._settings = container.settings.webhooks
        self._interval = container.settings.jobs.relay_interval
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], _UnderWay] = {}
        self._outcomes: Batcher[Sent, None] = Batcher(
            self._settle, batch=OUTCOMES, waiting=10 * self._settings.concurrency
        )

    async def run(self) -> None:
        """Work until `stop`; then wait for what is under way. Whatever fails is logged and tried again."""
        listening = asyncio.create_task(listen(self._container.redis, self._wake.set))
        expiring = asyncio.create_task(self._expire())
        try:
            while not self._stopping.is_set():
                await self._step()
                await came(self._stopping, within=BREATH)
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=STOP_SECONDS)
        finally:
            # Whoever is left over goes back by its lease, and is sent again under the same id.
            await cancel(listening, expiring, *self._under_way, within=5)

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    async def _step(self) -> None:
        self._wake.clear()
        try:
            claimed = await self._claim()
        except Exception as error:  # noqa: BLE001 - it outlives every fault of its parts
            log.warning("webhooks not claimed", error=repr(error))
            claimed = []
        for delivery in claimed:
            # A context of its own: an attempt belongs to nobody's request.
            task = asyncio.get_running_loop().create_task(self._attempt(delivery), context=Context())
            self._under_way[task] = _UnderWay(time.monotonic(), failing=delivery.failures > 0)
            task.add_done_callback(self._under_way.pop)
        if not claimed:
            await came(self._wake, within=self._interval)

    async def _claim(self) -> Sequence[AnyRow]:
        free, free_for_failing = self._free()
        if free <= 0:
            return []
        return await self._deliveries.claim(
            limit=free, failing_limit=free_for_failing, per_endpoint=self._settings.per_endpoint
        )

    def _free(self) -> tuple[int, int]:
        """How many more may be claimed, and how many of them for endpoints that fail.

        However many receivers hang at once, half of the slots are for those that answer. A task that waits costs memory
        and a socket, so there is an end to it.
        """
        slots, now = self._settings.concurrency, time.monotonic()
        waiting = sum(now - one.since > LONG_SECONDS for one in self._under_way.values())
        failing = sum(one.failing for one in self._under_way.values())
        beside = max(0, waiting - slots // 2)
        free = min(slots - (len(self._under_way) - beside), MOST_AT_ONCE * slots - len(self._under_way))
        return free, max(0, slots // 2 - failing)

    async def _attempt(self, delivery: AnyRow) -> None:
        sent = await self._deliveries.send(delivery)
        outcome = "succeeded" if sent.outcome.succeeded else "failed"
        WEBHOOKS.labels(delivery.event, outcome).inc()
        WEBHOOK_SECONDS.labels(outcome).observe(sent.outcome.seconds)
        log.info(
            "webhook",
            delivery_id=delivery.id,
            endpoint_id=delivery.endpoint_id,
            webhook=delivery.event,
            attempt=delivery.attempts,
            outcome=outcome,
            status=sent.outcome.status,
            error=sent.outcome.error,
            duration_ms=round(sent.outcome.seconds * 1000, 1),
        )
        try:
            await self._outcomes.add(sent)
        except Exception as error:  # noqa: BLE001 - its lease ends, and it is sent again under the same id
            log.warning("outcome of a webhook not noted", delivery_id=delivery.id, error=repr(error))
        self._wake.set()

    async def _settle(self, sent: Sequence[Sent]) -> Sequence[None]:
        async for one in AsyncRetrying(
            stop=stop_after_delay(LEASE_SECONDS / 2),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            retry=retry_if_exception(lambda error: is_unavailable(error) or is_retryable(error)),
            reraise=True,
        ):
            with one:
                await self._deliveries.settle(sent)
        return [None] * len(sent)

    async def _expire(self) -> Any:
        while True:
            try:
                await self._deliveries.expire()
            except Exception as error:  # noqa: BLE001 - it outlives every fault of its parts
                log.warning("webhooks not expired", error=repr(error))
            await asyncio.sleep(EXPIRE_INTERVAL)
