"""Real worker processes on real engines; each module has a Valkey of its own, which its tests may kill."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from app.config import Settings
from app.tasks.broker import ARQ_QUEUE, CELERY_LIST, CELERY_QUEUE, ON_REDIS
from deploy.local.engines import ValkeyEngine
from tests.ports import free_port
from tests.processes.ledger import Ledger
from tests.processes.process import Process, Spawn, Workers
from tests.support import World

CELERY_LISTS = (CELERY_QUEUE, *(CELERY_LIST[:-1] + str(step) for step in ON_REDIS.values()))
ROOT = Path(__file__).resolve().parents[2]
QUICK = {
    "LOG_FORMAT": "json",
    # What is started beside a worker may keep it from its heartbeat for two seconds and more.
    "JOBS_LEASE": "4",
    "JOBS_HEARTBEAT": "0.5",
    "JOBS_RELAY_INTERVAL": "0.3",
    "JOBS_REAP_INTERVAL": "0.3",
    "JOBS_REPUBLISH_AFTER": "2",
    "JOBS_SHUTDOWN_GRACE": "2",
    # A test holds a job in mid-run by a lock on a table that its body reads.
    "DATABASE_LOCK_TIMEOUT": "30",
}


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyEngine]:
    engine = ValkeyEngine(tmp_path_factory.mktemp("valkey"))
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def spawn(settings: Settings, own_valkey: ValkeyEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawn]:
    """Starts `python -m app NAME` as an operator would; whatever still runs at the end of the module is killed."""
    started: list[Process] = []

    def start(name: str, *program: str, **environment: str) -> Process:
        folder = tmp_path_factory.mktemp(name)
        port = free_port()
        values = os.environ | QUICK | {"REDIS_URL": own_valkey.url} | environment
        values |= {
            "PYTHONPATH": str(ROOT),
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
            f"{name.upper()}_METRICS_PORT": str(port),
        }
        process = Process(name, port, folder, values, program)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="module")
def workers(spawn: Spawn) -> Workers:
    return Workers(spawn)


@pytest.fixture
def ledger(world: World, own_valkey: ValkeyEngine) -> Ledger:
    """Empty, as are queues, mails and reports; Valkey runs, whatever the test before did to it."""
    shutil.rmtree(world.container.settings.storage.directory, ignore_errors=True)
    own_valkey.start()
    with Redis.from_url(own_valkey.url) as redis:
        # A copy that was sent for nothing names a job of this test: the ids begin anew.
        redis.delete(ARQ_QUEUE, *CELERY_LISTS)
    return Ledger(world, own_valkey.url)
