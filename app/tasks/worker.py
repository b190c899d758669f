"""The I/O worker: ARQ as the engine, the relay beside it, both in one event loop."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any

from arq import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import RedisError

from app.config import Settings, get_settings
from app.core.logging import configure_logging, get_logger
from app.core.metrics import prepare_multiprocess
from app.core.ops_server import OpsServer
from app.core.wakeup import RedisWaker, use_waker
from app.services.container import build
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies
from app.tasks.broker import ARQ_QUEUE, TASK, make_arq, make_celery
from app.tasks.relay import Relay

log = get_logger(__name__)
POLL_SECONDS = 0.05
# The ledger times attempts; ARQ's own limit only has to be longer than any of them.
ENGINE_TIMEOUT = 3600
_REDIS_AWAY = (RedisError, OSError, TimeoutError)


class LedgerWorker(Worker):
    """ARQ's worker, except that a Redis that goes away is waited for instead of being the end of it."""

    async def _poll_iteration(self) -> None:
        try:
            await super()._poll_iteration()
        except _REDIS_AWAY as error:
            log.warning("Redis is away; waiting", error=repr(error))
            self._recover_slots()
            await asyncio.sleep(1)

    def _recover_slots(self) -> None:
        # ARQ takes a slot before it asks Redis; a connection that breaks between the two would leak it.
        running = sum(not task.done() for task in self.tasks.values())
        for _ in range(self.job_counter - running):
            self._release_sem_dec_counter_on_complete()

    async def drain(self, seconds: float) -> None:
        """Take no more jobs, wait for those under way, then interrupt the rest: they go back to the ledger."""
        self.allow_pick_jobs = False
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=seconds)
        interrupted: Sequence[asyncio.Task[Any]] = [task for task in self.job_tasks.values() if not task.done()]
        for task in interrupted:
            task.cancel()
        if interrupted:
            await asyncio.wait(interrupted, timeout=5)


def _make_worker(settings: Settings, arq: ArqRedis, runner: Runner) -> LedgerWorker:
    async def run_job(_: dict[str, Any], job_id: int) -> None:
        await runner.run(job_id)

    return LedgerWorker(
        functions=[func(run_job, name=TASK, timeout=ENGINE_TIMEOUT, max_tries=1, keep_result=0)],
        redis_pool=arq,
        queue_name=ARQ_QUEUE,
        handle_signals=False,
        max_jobs=settings.jobs.concurrency,
        poll_delay=POLL_SECONDS,
        keep_result=0,
        retry_jobs=False,
        log_results=False,
        job_serializer=arq.job_serializer,
        job_deserializer=arq.job_deserializer,
    )


async def _work(worker: LedgerWorker, arq: ArqRedis, ready: asyncio.Event) -> None:
    while True:
        try:
            await arq.ping()
            ready.set()
            await worker.async_run()
        except _REDIS_AWAY as error:
            log.warning("Redis is away; waiting", error=repr(error))
            await asyncio.sleep(1)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    # A library that swallows one cancellation must not keep the process from ending.
    for _ in range(3):
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=1)
        if not pending:
            return
    log.warning("left running at the end", tasks=len(pending))


async def _serve(settings: Settings) -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    container = build(settings, role="worker")
    use_waker(RedisWaker(container.redis))
    arq = make_arq(settings)
    worker = _make_worker(settings, arq, Runner(container.database, bodies(container), settings.jobs))
    ops = OpsServer(host=settings.host, port=settings.worker.metrics_port, ready=ready.is_set)
    ops.start()
    relay = asyncio.create_task(Relay(container, arq, make_celery(settings)).run())
    engine = asyncio.create_task(_work(worker, arq, ready))
    log.info("started", concurrency=settings.jobs.concurrency)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, relay, engine}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping", jobs=len(worker.tasks))
    await worker.drain(settings.jobs.shutdown_grace)
    crashed = [task for task in (relay, engine) if task.done()]
    await _cancelled(relay, engine, stopping)
    ops.stop()
    use_waker(None)
    await arq.aclose(close_connection_pool=True)
    await container.close()
    for task in crashed:
        task.result()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings.log, process="worker")
    prepare_multiprocess()
    asyncio.run(_serve(settings))
