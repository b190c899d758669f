"""Lists from a real replica: as long as it keeps up, and never at the price of an answer."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from app.config import Settings
from app.core.database import ANSWER_WITHIN
from app.core.jobs import enqueue
from app.core.metrics import LIST_READS
from app.core.replica import ReplicaSession
from app.main import create_app
from app.services.container import Container, build
from deploy.local.engines import PostgresEngine
from tests.processes.ledger import Ledger
from tests.replica import ReplicaEngine
from tests.support import API, World, eventually

LONG, SHORT = 3600.0, 0.001
"""Bounds that no machine is slow enough to reach, and none quick enough to keep."""


@pytest.fixture(scope="module")
def replica(
    settings: Settings, postgres: PostgresEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReplicaEngine]:
    engine = ReplicaEngine(tmp_path_factory.mktemp("replica"), postgres)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
async def beside(settings: Settings, container: Container, replica: ReplicaEngine) -> AsyncIterator[Container]:
    """The parts of a service that has a replica."""
    replica.start()
    update = {"replica_url": SecretStr(replica.url), "replica_lag": LONG}
    changed = settings.model_copy(update={"database": settings.database.model_copy(update=update)})
    made = build(changed, role="api")
    yield made
    await made.close()


@pytest.fixture
async def public(beside: Container) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = create_app(beside.settings)
    app.state.container = beside
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        yield client


async def tell(replica: ReplicaEngine, statement: str) -> None:
    """Run it on the replica, as its operator."""
    engine = create_async_engine(replica.url)
    async with engine.connect() as connection:
        await connection.exec_driver_sql(statement)
    await engine.dispose()


async def names(client: httpx.AsyncClient, headers: dict[str, str] | None = None) -> set[str]:
    answer = await client.get(f"{API}/doctors", headers=headers)
    assert answer.status_code == 200, answer.text
    return {one["full_name"] for one in answer.json()["items"]}


async def part(client: httpx.AsyncClient) -> str:
    answer = await client.get("/health/ready")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["parts"]["replica"])


def processes_of(engine: ReplicaEngine) -> list[int]:
    """The postmaster, and what it has started."""
    assert engine.pid is not None
    children = Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text()
    return [engine.pid, *map(int, children.split())]


def reads(source: str) -> float:
    return float(LIST_READS.labels(source)._value.get())


@pytest.mark.timeout(120)
async def test_lists_are_no_older_than_the_bound(
    world: World,
    public: httpx.AsyncClient,
    replica: ReplicaEngine,
    beside: Container,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A replica that stands still is read for as long as it is close; who is signed in always sees the newest."""
    await world.doctor(full_name="First")

    async def caught_up() -> bool:
        return await names(public) == {"First"} and await part(public) == "ok"

    await eventually(caught_up)
    before = reads("replica")
    assert await names(public) == {"First"}
    assert reads("replica") == before + 1
    await tell(replica, "SELECT pg_wal_replay_pause()")
    try:
        await world.doctor(full_name="Second")
        admin = await world.admin()
        assert await names(public) == {"First"}
        assert await names(public, admin.headers) == {"First", "Second"}
        monkeypatch.setattr(beside.database.lists, "_bound", SHORT)

        async def from_the_primary() -> bool:
            return await names(public) == {"First", "Second"}

        await eventually(from_the_primary)
        assert (await part(public)).startswith("too far behind")
    finally:
        await tell(replica, "SELECT pg_wal_replay_resume()")

    async def again() -> bool:
        return await part(public) == "ok"

    await eventually(again)
    assert await names(public) == {"First", "Second"}


async def is_used(public: httpx.AsyncClient) -> bool:
    """Whether the list comes from the replica, and is whole."""
    before = reads("replica")
    return await names(public) == {"First"} and reads("replica") > before


@pytest.mark.timeout(120)
async def test_a_replica_that_goes_away_costs_no_answer(
    world: World, public: httpx.AsyncClient, replica: ReplicaEngine
) -> None:
    """Killed under reads, it is left out without a failure; when it is back, it is read again."""
    await world.doctor(full_name="First")
    used = partial(is_used, public)
    await eventually(used)
    replica.stop()
    for _ in range(20):
        assert await names(public) == {"First"}
    assert (await part(public)).startswith("away")
    replica.start()
    await eventually(used)
    assert await part(public) == "ok"


@pytest.mark.timeout(120)
async def test_a_replica_that_hangs_costs_a_second(
    world: World, public: httpx.AsyncClient, replica: ReplicaEngine
) -> None:
    """Frozen under reads, it is given up within the time that an answer may take, and nothing fails."""
    await world.doctor(full_name="First")
    used = partial(is_used, public)
    await eventually(used)
    frozen = processes_of(replica)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            assert await names(public) == {"First"}
        assert await names(public) == {"First"}
        assert (await part(public)).startswith("away")
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    await eventually(used)


@pytest.mark.timeout(120)
async def test_reports_are_read_from_it(world: World, beside: Container, replica: ReplicaEngine) -> None:
    """What a report lists comes from the replica; the job itself is kept on the primary."""
    lists = beside.database.lists
    assert isinstance(lists, ReplicaSession)

    async def close() -> bool:
        return await lists.state() == "ok"

    await eventually(close)
    before = reads("replica")
    async with beside.database.session_scope() as session:
        await enqueue(session, Ledger.report())
    assert await World(beside).run_jobs() == 1
    assert reads("replica") > before
    assert await world.scalar("SELECT status FROM jobs") == "succeeded"


@pytest.mark.timeout(120)
async def test_a_replica_that_was_promoted_is_none(
    world: World, public: httpx.AsyncClient, replica: ReplicaEngine
) -> None:
    """A server that has begun a life of its own is not read, however new its data are."""
    await tell(replica, "SELECT pg_promote()")
    await world.doctor(full_name="First")
    assert await names(public) == {"First"}
    assert (await part(public)).startswith("away")
