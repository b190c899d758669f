"""Relays that also know the jobs of the tests."""

from collections.abc import Iterator
from typing import Any

from arq import ArqRedis
from celery import Celery

from app.core.jobs import JobMessage
from app.services.container import Container
from app.tasks.relay import Relay


def _kinds(kind: type[JobMessage]) -> Iterator[type[JobMessage]]:
    for one in kind.__subclasses__():
        yield one
        yield from _kinds(one)


def make_relay(container: Container, arq: ArqRedis, celery: Celery, **options: Any) -> Relay:
    """As the worker makes it, for every message class that has been loaded."""
    names = {one.name for one in _kinds(JobMessage) if hasattr(one, "name")}
    return Relay(container, arq, celery, **{"names": names, **options})
