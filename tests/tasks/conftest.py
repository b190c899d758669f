"""The parts of the workers, in this process, on the real engines."""

from collections.abc import AsyncIterator

import pytest
from arq import ArqRedis
from celery import Celery

from app.services.container import Container
from app.tasks.broker import make_arq, make_celery
from app.tasks.relay import Relay
from tests.relays import make_relay


@pytest.fixture
async def arq(container: Container) -> AsyncIterator[ArqRedis]:
    client = make_arq(container.settings)
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.fixture
def celery(container: Container) -> Celery:
    return make_celery(container.settings)


@pytest.fixture
def relay(container: Container, arq: ArqRedis, celery: Celery) -> Relay:
    return make_relay(container, arq, celery)
