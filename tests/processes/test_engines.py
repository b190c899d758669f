"""What lies in a queue is data, a computation that does not end is ended, and RabbitMQ is another URL."""

import base64
import json
import os
import pickle
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from app.tasks.broker import ARQ_QUEUE, CELERY_LIST, TASK
from deploy.local.engines import ValkeyEngine
from tests.processes.ledger import Ledger
from tests.processes.process import Spawn, Workers, gone
from tests.processes.rabbitmq import RabbitMQ
from tests.processes.stubborn import Stubborn


class Bomb:
    """Makes a folder wherever it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder),)


def envelope(body: bytes) -> bytes:
    """A message as kombu puts it into Redis, which says that its body is a pickle."""
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "binary",
            "content-type": "application/x-python-serialize",
            "headers": {"lang": "py", "task": TASK, "id": str(uuid4()), "root_id": None, "parent_id": None},
            "properties": {
                "correlation_id": str(uuid4()),
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "frontdesk-cpu"},
                "priority": 3,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    ).encode()


async def test_a_pickle_in_a_queue_is_never_loaded(
    ledger: Ledger, workers: Workers, own_valkey: ValkeyEngine, tmp_path: Path
) -> None:
    """Put into ARQ's queue or Celery's list by hand, it is dropped; both workers go on with their work."""
    worker, celery = await workers.get("worker", "celery")
    folder = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(folder))
    redis = Redis.from_url(own_valkey.url)
    await redis.set("arq:job:evil", bomb)
    await redis.zadd(ARQ_QUEUE, {"evil": 0})
    await cast("Awaitable[int]", redis.lpush(CELERY_LIST, envelope(bomb)))
    await redis.aclose()
    for job_id in await ledger.send(await ledger.mail(), ledger.report()):
        await ledger.reached(job_id, "succeeded", seconds=60)
    assert not folder.exists()
    assert worker.is_alive
    assert celery.is_alive
    pickle.loads(bomb)  # noqa: S301 - it would have worked
    assert folder.exists()


@pytest.mark.slow
async def test_a_computation_that_does_not_end_is_ended_with_its_process(
    ledger: Ledger, workers: Workers, spawn: Spawn
) -> None:
    """Beyond its timeout and the grace the child ends; its job is failed, and the next child does the next job."""
    await workers.stop("worker", "celery")
    worker = await spawn("worker", "-m", "tests.processes.stubborn", "worker").ready()
    celery = await spawn("celery", "-m", "tests.processes.stubborn", "celery").ready()
    (child,) = celery.children()
    (stubborn,) = await ledger.send(Stubborn())
    failed = await ledger.reached(stubborn, "failed", seconds=60)
    assert failed.error == "TimeoutError: took longer than 1 s"
    await gone(child, seconds=30)
    await celery.logged("a computation does not end, so its process does", job_ids=[stubborn])
    (report,) = await ledger.send(ledger.report())
    await ledger.reached(report, "succeeded", seconds=60)
    assert [await one.stopped() for one in (celery, worker)] == [0, 0]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone keeps a process on one core")
async def test_a_child_that_has_ended_is_replaced_at_once(ledger: Ledger, workers: Workers, spawn: Spawn) -> None:
    """On one core, too, four jobs in a child each don't wait for Celery's look at its children every five seconds."""
    await workers.get("worker")
    await workers.stop("celery")
    celery = await spawn("celery", JOBS_CHILD_JOBS="1").ready()
    os.sched_setaffinity(celery.pid, {min(os.sched_getaffinity(0))})
    ids = await ledger.send(*(ledger.report() for _ in range(4)))
    ended = [(await ledger.reached(one, "succeeded", seconds=60)).finished_at for one in ids]
    assert (max(ended) - min(ended)).total_seconds() < 9
    assert await celery.stopped() == 0


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    if not RabbitMQ.is_installed():
        pytest.skip("RabbitMQ is not installed (Debian: rabbitmq-server)")
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_rabbitmq_is_another_url(ledger: Ledger, workers: Workers, spawn: Spawn, rabbitmq: RabbitMQ) -> None:
    """With JOBS_BROKER_URL alone, reports go over RabbitMQ: none through Redis, each done once, as with Redis."""
    await workers.stop("worker", "celery")
    worker = await spawn("worker", JOBS_BROKER_URL=rabbitmq.url).ready()
    celery = await spawn("celery", JOBS_BROKER_URL=rabbitmq.url).ready()
    ids = await ledger.send(*(ledger.report() for _ in range(5)))
    for job_id in ids:
        assert (await ledger.reached(job_id, "succeeded", seconds=60)).attempt == 1
        await celery.logged("job", job_id=job_id)
    assert await ledger.left_in_celerys_queue() == 0
    assert {line["job_id"] for line in celery.lines() if line["event"] == "job"} == set(ids)
    assert [await one.stopped(seconds=20) for one in (worker, celery)] == [0, 0]
