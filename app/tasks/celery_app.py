"""The CPU worker: Celery prefork; one event loop and one unpooled engine in each child."""

import asyncio
from dataclasses import dataclass
from typing import Any

from billiard.process import current_process  # type: ignore[import-untyped]  # Celery's fork of multiprocessing
from celery import Celery
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from app.config import get_settings
from app.core.logging import configure_logging, get_logger
from app.core.metrics import forget_process, prepare_multiprocess
from app.core.ops_server import OpsServer
from app.services.container import Container, build
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies
from app.tasks.broker import CELERY_QUEUE, TASK, make_celery

log = get_logger(__name__)
CHILD_LIFETIME_JOBS = 200
CHILD_MEMORY_KIB = 400 * 1024


@dataclass(slots=True)
class Child:
    """What one prefork child works with; nothing in it survives a fork."""

    loop: asyncio.Runner
    container: Container
    runner: Runner


_child: Child | None = None
_ready = False


def _start_child(**_: Any) -> None:
    global _child  # noqa: PLW0603 - one per process, made after the fork
    settings = get_settings()
    configure_logging(settings.log, process="celery")
    loop = asyncio.Runner()

    async def make() -> Container:
        return build(settings, role="worker", pooled=False)

    container = loop.run(make())
    _child = Child(loop, container, Runner(container.database, bodies(container), settings.jobs))


def _stop_child(pid: int | None = None, **_: Any) -> None:
    if _child is not None:
        _child.loop.run(_child.container.close())
        _child.loop.close()
    if pid is not None:
        forget_process(pid)


def run_job(job_id: int) -> None:
    """Attempt one job of the ledger."""
    if _child is None:
        raise RuntimeError(f"{current_process().name} has not been initialised")
    _child.loop.run(_child.runner.run(job_id))


def _note_ready(**_: Any) -> None:
    global _ready  # noqa: PLW0603 - read by the operator's probe of this process
    _ready = True


def _note_stopping(**_: Any) -> None:
    global _ready  # noqa: PLW0603 - read by the operator's probe of this process
    _ready = False


def _configure_logging(**_: Any) -> None:
    configure_logging(get_settings().log, process="celery")


def make_worker_app() -> Celery:
    """Celery's application with the one task and the life of its children."""
    settings = get_settings()
    app = make_celery(settings)
    app.conf.update(
        worker_concurrency=settings.jobs.cpu_processes,
        worker_max_tasks_per_child=CHILD_LIFETIME_JOBS,
        worker_max_memory_per_child=CHILD_MEMORY_KIB,
        worker_soft_shutdown_timeout=settings.jobs.shutdown_grace,
        worker_enable_soft_shutdown_on_idle=False,
    )
    app.task(run_job, name=TASK, acks_late=False, max_retries=0)
    # Celery keeps weak references by default; these live as long as the process.
    setup_logging.connect(_configure_logging, weak=False)
    worker_process_init.connect(_start_child, weak=False)
    worker_process_shutdown.connect(_stop_child, weak=False)
    worker_ready.connect(_note_ready, weak=False)
    worker_shutting_down.connect(_note_stopping, weak=False)
    return app


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings.log, process="celery")
    prepare_multiprocess()
    ops = OpsServer(host=settings.host, port=settings.celery.metrics_port, ready=lambda: _ready)
    app = make_worker_app()
    ops.start()
    try:
        app.worker_main(
            [
                "worker",
                "--pool=prefork",
                f"--queues={CELERY_QUEUE}",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
    finally:
        ops.stop()
