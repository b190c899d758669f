"""Behind a real PgBouncer in transaction mode everything goes on as before, over fewer connections."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import func, literal, select, table, text
from structlog.testing import capture_logs

from app.config import DatabaseSettings, Settings
from app.core import connections
from app.core.database import Database
from app.core.engine import Role, limits
from deploy.local.engines import PostgresEngine, ValkeyEngine
from tests.hostile.process import ApiProcess
from tests.processes.ledger import Ledger
from tests.processes.pgbouncer import PROGRAM, PgBouncer, shipped
from tests.processes.process import Spawn
from tests.support import API, PASSWORD, World, clinic_time, eventually, next_weekday, sign_in

SERVERS = 3
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed (Debian: pgbouncer)")


@pytest.fixture(scope="module")
def bouncer(postgres: PostgresEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgBouncer]:
    engine = PgBouncer(tmp_path_factory.mktemp("pgbouncer"), postgres, servers=SERVERS)
    engine.start()
    yield engine
    engine.stop()


def through(settings: Settings, url: str) -> Settings:
    """The settings with the way to the database through PgBouncer."""
    values = {"url": SecretStr(url), "pooler": "transaction", "direct_url": settings.database.url, "pool_size": 20}
    return settings.model_copy(update={"database": settings.database.model_copy(update=values)})


@pytest.fixture
async def database(settings: Settings, bouncer: PgBouncer) -> AsyncIterator[Database]:
    made = Database(through(settings, bouncer.url).database, role="api")
    yield made
    await made.close()


def test_the_shipped_limits_are_those_of_the_settings() -> None:
    """What PgBouncer sets on its connections is what the API and the workers would ask for without it."""
    roles: dict[str, Role] = {"frontdesk": "api", "frontdesk_worker": "worker"}
    for name, line in shipped()["databases"].items():
        found = dict(re.findall(r"SET (\w+) = (\w+)", line))
        assert found == limits(DatabaseSettings(), roles.pop(name)) | {"jit": "off"}
    assert not roles


async def test_many_statements_share_few_connections(database: Database, world: World) -> None:
    """Three hundred reads and writes of many shapes over three connections, each with its own answer."""

    async def read(number: int) -> int:
        columns = [literal(number).label(f"c{column}") for column in range(number % 40 + 1)]
        row = await database.read.first(select(*columns))
        assert row is not None
        assert set(row) == {number}
        return len(row)

    async def write(number: int) -> int:
        async with database.session_scope() as session:
            pids = {int(await session.scalar(select(func.pg_backend_pid())) or 0) for _ in range(3)}
            await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": number % 7})
        (pid,) = pids
        return pid

    widths = await asyncio.gather(*(read(number) for number in range(200)))
    assert widths == [number % 40 + 1 for number in range(200)]
    _, *servers = await asyncio.gather(asyncio.gather(*map(read, range(200))), *(write(one) for one in range(100)))
    assert 1 < len(set(servers)) <= SERVERS
    assert await database.read.scalar(select(func.count()).select_from(table("pg_prepared_statements"))) == 0


@pytest.mark.parametrize(("name", "unset"), [("frontdesk", 0), ("bare", 3)])
async def test_limits_that_the_pooler_does_not_set_are_missed(
    settings: Settings, bouncer: PgBouncer, name: str, unset: int
) -> None:
    """With the shipped file nothing is said at the start; without `connect_query` each missing limit is named."""
    given = through(settings, bouncer.url_of(name))
    database = Database(given.database, role="api")
    with capture_logs() as logs:
        await connections.check_connections(given, database, role="api")
    await database.close()
    assert [len(line["unset"]) for line in logs] == ([unset] if unset else [])


@pytest.fixture
async def api(
    settings: Settings, bouncer: PgBouncer, own_valkey: ValkeyEngine, tmp_path: Path, ledger: Ledger
) -> AsyncIterator[ApiProcess]:
    process = ApiProcess(tmp_path, environment(settings, bouncer) | {"REDIS_URL": own_valkey.url})
    await process.start()
    yield process
    process.stop()


def environment(settings: Settings, bouncer: PgBouncer, name: str = "frontdesk") -> dict[str, str]:
    return {
        "DATABASE_POOLER": "transaction",
        "DATABASE_URL": bouncer.url_of(name),
        "DATABASE_DIRECT_URL": settings.database.url.get_secret_value(),
        "LOG_FORMAT": "json",
    }


async def servers_of(world: World, role: str) -> int:
    """How many connections PostgreSQL has of this role."""
    counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name"
    return int(await world.scalar(counted, name=f"frontdesk-{role}"))


@pytest.mark.timeout(120)
async def test_the_service_runs_behind_it(
    settings: Settings, bouncer: PgBouncer, api: ApiProcess, spawn: Spawn, world: World
) -> None:
    """Register, book and get the mails; a session that has ended is refused at once; few connections do all of it."""
    worker = await spawn("worker", **environment(settings, bouncer, "frontdesk_worker")).ready()
    doctor = await world.doctor()
    async with httpx.AsyncClient(base_url=api.url, timeout=20, trust_env=False) as client:
        account = {"email": "ann@example.com", "password": PASSWORD, "full_name": "Ann"}
        assert (await client.post(f"{API}/auth/register", json=account)).status_code == 202
        tokens = (await sign_in(client, "ann@example.com")).json()
        ann = {"Authorization": f"Bearer {tokens['access_token']}"}
        starts_at = clinic_time(world.container, next_weekday(), "10:00")
        slot = {"doctor_id": doctor, "starts_at": starts_at}
        assert (await client.post(f"{API}/appointments", json=slot, headers=ann)).status_code == 201
        assert (await client.post(f"{API}/appointments", json=slot, headers=ann)).json()["code"] == "slot_taken"

        async def mailed() -> bool:
            done = await world.scalar("SELECT count(*) FROM jobs WHERE status = 'succeeded' AND name LIKE 'mail.%'")
            return int(done) == 2 and len(world.mails()) == 2

        async def listens() -> bool:
            return "listening for changes" in api.log.read_text()

        await eventually(mailed, seconds=30)
        # The principal is remembered, as without a pooler: the API hears of changes on a connection past it.
        await eventually(listens)
        answers = await asyncio.gather(*(client.get(f"{API}/appointments?count=true", headers=ann) for _ in range(90)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await client.post(f"{API}/auth/logout", json={"refresh_token": tokens["refresh_token"]})).is_success
        assert (await client.get(f"{API}/users/me", headers=ann)).status_code == 401
    # `world` has connections of the API's name itself, past PgBouncer.
    assert 1 <= await servers_of(world, "worker") <= SERVERS
    assert await servers_of(world, "listen") >= 1
    assert "sets no limits" not in api.log.read_text() + worker.log()
    assert await worker.stopped(seconds=20) == 0
