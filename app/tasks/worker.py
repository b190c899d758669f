"""The I/O worker: ARQ as the engine, the relay beside it, both in one event loop."""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Any, cast

import uvloop
from arq import ArqRedis
from arq.typing import WorkerCoroutine
from arq.utils import timestamp_ms
from arq.worker import Worker, func
from redis.exceptions import RedisError

from app.config import Settings, get_settings
from app.core.connections import check_connections
from app.core.job_changes import RedisAnnouncer, use_announcer
from app.core.logging import configure_logging, get_logger
from app.core.memory import settle
from app.core.ops_server import OpsServer
from app.core.tracing import start_tracing, stop_tracing
from app.core.vitals import watch
from app.core.wakeup import RedisWaker, use_waker
from app.services.container import build
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies
from app.tasks.broker import ARQ_QUEUE, TASK, make_arq, make_celery
from app.tasks.cancellation import came, cancel
from app.tasks.deliverer import Deliverer
from app.tasks.event_consumer import EventConsumer
from app.tasks.gauges import Gauges
from app.tasks.relay import Relay

log = get_logger(__name__)
POLL_SECONDS = 0.05
# The ledger times attempts; ARQ's own limit only has to be longer than any of them.
ENGINE_TIMEOUT = 3600
# Nor does ARQ count tries: a worker that is killed before its claim leaves one behind, and the message that is sent
# again for the same attempt would be dropped as one too many.
ENGINE_TRIES = sys.maxsize
# How long each part of the end may take, after the grace for the jobs.
INTERRUPT_SECONDS, STEP_SECONDS, CLOSE_SECONDS = 3, 2, 2
_REDIS_AWAY = (RedisError, OSError, TimeoutError)


class LedgerWorker(Worker):
    """ARQ's worker, except that it ends when it is asked to, and outlives Redis and whatever somebody put there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._look = asyncio.Event()
        self._more = False

    async def main(self) -> None:
        """Poll until `stop`. ARQ's own loop only ends by a cancellation, which redis-py may swallow."""
        while not self._stopping.is_set():
            self._look.clear()
            await self._poll_iteration()
            await came(self._look, within=POLL_SECONDS)

    def look(self) -> None:
        """Poll now: there is something in the queue."""
        self._look.set()

    def stop(self) -> None:
        """Take no more jobs, and end `main` after the poll that is under way."""
        self.allow_pick_jobs = False
        self._stopping.set()
        self._look.set()

    async def _poll_iteration(self) -> None:
        try:
            await super()._poll_iteration()
            self.ready.set()
        except _REDIS_AWAY as error:
            self.ready.clear()
            log.warning("Redis is away; waiting", error=repr(error))
            await came(self._stopping, within=1)
        except Exception as error:  # noqa: BLE001 - anybody may put anything into Redis
            log.warning("message dropped", error=repr(error))

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Take as many messages off the queue as there are free slots, and start their jobs.

        ARQ's own leaves a message there until its job has ended, marked as begun for an hour: those of killed workers
        would stay at the head of the queue, and a hundred of them hide every other from the poll. The ledger needs no
        such memory, because it decides who runs a job.
        """
        free = self.max_jobs - self.job_counter if self.allow_pick_jobs else 0
        self._more = len(job_ids) > free
        wanted = len(job_ids[:free])
        # Not necessarily those that the poll has seen: rivals take of the same queue. Who gets a message has it alone.
        for member, _ in await self.pool.zpopmin(self.queue_name, wanted) if wanted else ():
            job_id = member.decode(errors="replace")
            if job_id in self.tasks and not self.tasks[job_id].done():
                continue  # Published again while it is attempted here; ARQ keeps its tasks by name.
            await self.sem.acquire()
            self.job_counter += 1
            self.tasks[job_id] = task = self.loop.create_task(self.run_job(job_id, timestamp_ms()))
            task.add_done_callback(lambda _: self._release_sem_dec_counter_on_complete())

    def _release_sem_dec_counter_on_complete(self) -> None:
        super()._release_sem_dec_counter_on_complete()
        if self._more and 2 * self.job_counter <= self.max_jobs:
            self._look.set()

    async def drain(self, seconds: float) -> None:
        """`main` being over, wait for the jobs under way, then interrupt the rest: they go back to the ledger."""
        under_way = list(self.tasks.values())
        if under_way:
            await asyncio.wait(under_way, timeout=seconds)
        await cancel(*self.job_tasks.values(), within=INTERRUPT_SECONDS)
        if under_way:
            await asyncio.wait(under_way, timeout=1)
        await cancel(*under_way, within=1)


def _make_worker(settings: Settings, arq: ArqRedis, runner: Runner) -> LedgerWorker:
    async def run_job(_: dict[str, Any], job_id: int) -> None:
        await runner.run(job_id)

    return LedgerWorker(
        functions=[
            func(
                cast(WorkerCoroutine, run_job), name=TASK, timeout=ENGINE_TIMEOUT, max_tries=ENGINE_TRIES, keep_result=0
            )
        ],
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


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    start_tracing(settings.telemetry, process="worker")
    container = build(settings, role="worker")
    use_waker(RedisWaker(container.redis))
    use_announcer(RedisAnnouncer(container.redis))
    arq = make_arq(settings)
    runner = Runner(container.database, bodies(container), settings.jobs)
    worker = _make_worker(settings, arq, runner)
    relay = Relay(container, arq, make_celery(settings), published=worker.look, on_cancellation=runner.look_after)
    deliverer = Deliverer(container)
    ops = OpsServer(host=settings.host, port=settings.worker.metrics_port, ready=worker.ready.is_set)
    ops.start()
    consumer = EventConsumer(container.outer_events)
    tasks = relaying, delivering, consuming, working = (
        asyncio.create_task(relay.run()),
        asyncio.create_task(deliverer.run()),
        asyncio.create_task(consumer.run()),
        asyncio.create_task(worker.main()),
    )
    measuring = [
        asyncio.create_task(watch(container.database, container.redis)),
        asyncio.create_task(container.circuits.watch()),
        asyncio.create_task(Gauges(container).run()),
    ]
    settle()
    log.info("started", concurrency=settings.jobs.concurrency)
    stopping = asyncio.create_task(stop.wait())
    checking = asyncio.create_task(check_connections(settings, container.database, role="worker"))
    await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    crashed = [task for task in tasks if task.done()]
    log.info("stopping", jobs=len(worker.tasks))
    worker.stop()
    deliverer.stop()
    await asyncio.wait({working}, timeout=STEP_SECONDS)
    await worker.drain(settings.jobs.shutdown_grace)
    relay.stop()
    consumer.stop()
    await asyncio.wait({relaying, delivering, consuming}, timeout=STEP_SECONDS)
    if left := await cancel(*tasks, *measuring, stopping, checking, within=3):
        log.warning("left running at the end", tasks=len(left))
    ops.stop()
    use_waker(None)
    use_announcer(None)
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await arq.aclose(close_connection_pool=True)
            await container.close()
    await asyncio.to_thread(stop_tracing)
    log.info("stopped")
    for task in crashed:
        task.result()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings.log, process="worker")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))
