"""The CPU worker: Celery prefork; each child has one event loop, an unpooled engine, and a kept one for the ledger."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import uvloop
from billiard.process import active_children, current_process
from celery import Celery
from celery.apps.worker import Worker
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown, worker_ready
from celery.worker import state
from celery.worker.request import Request
from kombu.transport.redis import QoS

from app.config import get_settings
from app.core.database import Database
from app.core.job_changes import RedisAnnouncer, use_announcer
from app.core.logging import configure_logging, get_logger
from app.core.metrics import describe_build
from app.core.ops_server import OpsServer
from app.core.tracing import start_tracing, stop_tracing
from app.services.container import Container, build, preload
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies
from app.tasks.broker import CELERY_QUEUE, TASK, make_celery
from app.tasks.celery_pool import PromptTaskPool
from app.tasks.threads import CountedThreads

log = get_logger(__name__)
INTERRUPT_SECONDS = 4
# A child runs one job at a time; most are over before anybody would have seen that they have begun.
COALESCE_SECONDS = 0.05
# A step of the job, and its heartbeat.
LEDGER_CONNECTIONS = 2
THREADS_SECONDS = 5
"""How long a computation may go on whose attempt is over."""


@dataclass(slots=True)
class Child:
    """What one prefork child works with; nothing in it survives a fork."""

    loop: asyncio.Runner
    threads: CountedThreads
    container: Container
    ledger: Database
    """Kept open between jobs, for the steps of the ledger: a connection for each would cost more than most jobs."""
    runner: Runner
    announcer: RedisAnnouncer


_child: Child | None = None
_ready = False


def _start_child(**_: Any) -> None:
    global _child  # noqa: PLW0603 - one per process, made after the fork
    settings = get_settings()
    configure_logging(settings.log, process="celery")
    start_tracing(settings.telemetry, process="celery")
    loop, threads = asyncio.Runner(loop_factory=uvloop.new_event_loop), CountedThreads()

    async def make() -> Container:
        asyncio.get_running_loop().set_default_executor(threads)
        return build(settings, role="worker", pooled=False)

    container = loop.run(make())
    ledger = Database(settings.database.model_copy(update={"pool_size": LEDGER_CONNECTIONS}), role="worker")
    runner = Runner(container.database, bodies(container), settings.jobs, single=ledger.single, at_once=1)
    announcer = RedisAnnouncer(container.redis, coalesce=COALESCE_SECONDS)
    use_announcer(announcer)
    _child = Child(loop, threads, container, ledger, runner, announcer)


def _stop_child(**_: Any) -> None:
    if _child is not None:
        _child.loop.run(_child.ledger.close())
        _child.loop.run(_child.container.close())
        _child.loop.close()
    stop_tracing()


def run_job(*job_ids: int) -> None:
    """Attempt jobs of the ledger, one body after the other."""
    if _child is None:
        raise RuntimeError(f"{current_process().name} has not been initialised")
    try:
        _child.loop.run(_attempts(_child, job_ids))
    except asyncio.CancelledError:
        _end_child()
    # The attempt is over and written down. What it left computing was cancelled, or took too long.
    if not _child.threads.come_to_rest(within=THREADS_SECONDS):
        log.warning("a computation does not end, so its process does", job_ids=job_ids)
        _end_child()


def _end_child() -> NoReturn:
    # A thread may still be drawing, for which a proper end would wait. Celery makes another child.
    stop_tracing()
    os._exit(os.EX_OK)


async def _attempts(child: Child, job_ids: Sequence[int]) -> None:
    """Run the attempts; SIGTERM, which the worker sends when its grace is over, gives the jobs back."""
    loop = asyncio.get_running_loop()
    # Claims and completions of several are made together. None is left alone in a loop that stands still.
    attempts = asyncio.gather(*map(child.runner.run, job_ids), return_exceptions=True)
    # Not the loop's own way, which costs more than a small job. Between jobs the signal is billiard's.
    kept = signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(attempts.cancel))
    try:
        for outcome in await attempts:
            if isinstance(outcome, BaseException):
                raise outcome
    finally:
        signal.signal(signal.SIGTERM, kept)
        await child.announcer.flush()


def _note_ready(**_: Any) -> None:
    global _ready  # noqa: PLW0603 - read by the operator's probe of this process
    _ready = True


def _configure_logging(**_: Any) -> None:
    configure_logging(get_settings().log, process="celery")


class LedgerRequest(Request):  # type: ignore[misc]  # Celery has no types
    """Celery's request, except that a connection that breaks at an acknowledgement is known to be broken.

    Celery swallows it, counts the message as held for ever, asks for no other, and so never sees that it has to
    connect again.
    """

    acknowledged: bool

    def acknowledge(self) -> None:
        if not self.acknowledged:
            self._on_ack(log, ())
            self.acknowledged = True


def make_worker_app() -> Celery:
    """Celery's application with the one task and the life of its children."""
    settings = get_settings()
    app = make_celery(settings)
    # The ledger publishes again what a stop leaves behind; kombu would talk to a Redis that may be away, and print.
    QoS.restore_at_shutdown = False
    app.conf.update(
        worker_concurrency=settings.jobs.cpu_processes,
        worker_max_tasks_per_child=settings.jobs.child_jobs,
        worker_max_memory_per_child=settings.jobs.child_memory * 1024,
    )
    app.task(run_job, name=TASK, acks_late=False, max_retries=0, Request=LedgerRequest)
    # Celery keeps weak references by default; these live as long as the process.
    setup_logging.connect(_configure_logging, weak=False)
    worker_process_init.connect(_start_child, weak=False)
    worker_process_shutdown.connect(_stop_child, weak=False)
    worker_ready.connect(_note_ready, weak=False)
    return app


class CpuWorker(Worker):  # type: ignore[misc]  # Celery has no types
    """Celery's worker, except that it says nothing past the log and that a stop has an end.

    Celery's own waits for the jobs under way for as long as they take.
    """

    def install_platform_tweaks(self, worker: Any) -> None:  # noqa: ARG002 - Celery's hook for signal handlers
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, *_: Any) -> None:
        global _ready  # noqa: PLW0603 - read by the operator's probe of this process
        if state.should_stop is None:
            _ready = False
            state.should_stop = os.EX_OK
            threading.Thread(target=self._insist, name="grace", daemon=True).start()

    def _insist(self) -> None:
        log.info("stopping")
        time.sleep(get_settings().jobs.shutdown_grace)
        for child in active_children():
            child.terminate()
        time.sleep(INTERRUPT_SECONDS)
        log.warning("not everything has ended in time")
        os._exit(os.EX_OK)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings.log, process="celery")
    ops = OpsServer(host=settings.host, port=settings.celery.metrics_port, ready=lambda: _ready)
    describe_build()
    app = make_worker_app()
    # Celery warns root of pickle, which nothing here accepts.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    ops.start()
    # Celery collects garbage before each fork, and a collection in a child copies the pages that it looks at: nothing
    # of what was loaded until here ever becomes garbage.
    preload()
    gc.freeze()
    try:
        worker = CpuWorker(
            app=app,
            pool_cls=PromptTaskPool,
            queues=CELERY_QUEUE,
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
    finally:
        ops.stop()
    log.info("stopped")
    if worker.exitcode:
        sys.exit(worker.exitcode)
