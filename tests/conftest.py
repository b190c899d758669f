"""Real PostgreSQL and Valkey for every test worker; each test starts with empty tables."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

from alembic import command
from app.config import Environment, Settings, get_settings
from app.core.database import Base, Database
from app.main import create_app
from app.services.container import Container, build
from app.services.readiness import alembic_config
from deploy.local.engines import PostgresEngine, ValkeyEngine
from tests.outgoing import Outgoing, allowing_here
from tests.support import World

FAST_POSTGRES = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def postgres(state: Path) -> Iterator[PostgresEngine]:
    engine = PostgresEngine(state, settings=FAST_POSTGRES)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def valkey(state: Path) -> Iterator[ValkeyEngine]:
    engine = ValkeyEngine(state)
    engine.start()
    yield engine
    engine.stop()


async def _has_every_table(settings: Settings) -> None:
    """Without one, each test that empties the tables fails, and none says why."""
    database = Database(settings.database, role="worker", pooled=False)
    try:
        found = {row.name for row in await database.read.rows(text("SELECT tablename AS name FROM pg_tables"))}
    finally:
        await database.close()
    if missing := Base.metadata.tables.keys() - found:
        names = ", ".join(sorted(missing))
        why = f"no migration makes these tables of app/models: {names} (docs/guide.md, Adding a resource, 2)"
        pytest.fail(why, pytrace=False)


@pytest.fixture(scope="session")
def settings(state: Path, postgres: PostgresEngine, valkey: ValkeyEngine) -> Iterator[Settings]:
    """The settings of the service under test; the environment of who runs the tests plays no part."""
    patch = pytest.MonkeyPatch()
    for name in Settings.model_fields:
        for variable in list(os.environ):
            if variable == name.upper() or variable.startswith(f"{name.upper()}_"):
                patch.delenv(variable)
    patch.setenv("DATABASE_URL", postgres.url)
    patch.setenv("REDIS_URL", valkey.url)
    patch.setenv("ENVIRONMENT", Environment.TEST.value)
    patch.setenv("HASHING_ROUNDS", "4")
    patch.setenv("MAIL_DIRECTORY", str(state / "mail"))
    patch.setenv("STORAGE_DIRECTORY", str(state / "storage"))
    patch.setitem(Settings.model_config, "env_file", None)
    get_settings.cache_clear()
    settings = get_settings()
    assert isinstance(settings.database.url, SecretStr)
    command.upgrade(alembic_config(), "head")
    asyncio.run(_has_every_table(settings))
    yield settings
    patch.undo()
    get_settings.cache_clear()


@pytest.fixture(scope="session")
async def session_container(settings: Settings) -> AsyncIterator[Container]:
    container = build(settings, role="api")
    await container.keys.ensure()
    yield container
    await container.close()


@pytest.fixture
async def container(session_container: Container) -> AsyncIterator[Container]:
    """The service's parts; whatever the test wrote is gone after it."""
    yield session_container
    await World(session_container).empty()


@pytest.fixture
def world(container: Container) -> World:
    return World(container)


@pytest.fixture(scope="session")
def session_app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def app(session_app: FastAPI, container: Container) -> FastAPI:
    session_app.state.container = container
    return session_app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to the application in this process."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


@pytest.fixture
async def outgoing(
    app: FastAPI, container: Container, client: httpx.AsyncClient, world: World
) -> AsyncIterator[Outgoing]:
    """Webhooks to partners on this machine."""
    async with allowing_here(container) as allowing:
        app.state.container = allowing
        yield Outgoing(allowing, world, client, await world.admin())
