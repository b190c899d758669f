"""Migrations go both ways, make what the models say, and take turns (decision 12)."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, NullPool, make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import app.models  # noqa: F401 - fills the metadata
from alembic import command
from app.config.engines import DatabaseSettings
from app.core.database import Base, Database, sqlstate
from app.core.errors import Unavailable
from app.services.readiness import alembic_config, head_revision, migrations_ready
from deploy.local.engines import PostgresEngine
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[1]
MIGRATION_LOCK = 4_721_001
REVISIONS = [one.revision for one in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]
EXCLUSION_VIOLATION = "23P01"
_numbers = count(1)
INSERT_TOKEN = """
INSERT INTO one_time_tokens (user_id, purpose, token_hash, expires_at) VALUES (1, 'verify_email', :value, now())
"""
# Everything that a migration makes, as PostgreSQL itself describes it.
SCHEMA = """
SELECT 'column', table_name, column_name, data_type, is_nullable || coalesce(column_default, '') || is_identity
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename, indexname, '', indexdef FROM pg_indexes WHERE schemaname = 'public'
ORDER BY 1, 2, 3, 4, 5
"""


@pytest.fixture
async def scratch(postgres: PostgresEngine) -> AsyncIterator[AsyncEngine]:
    """An empty database of its own."""
    name = f"migrations_{next(_numbers)}"
    server = create_async_engine(postgres.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with server.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_async_engine(make_url(postgres.url).set(database=name), poolclass=NullPool)
    yield engine
    await engine.dispose()
    async with server.connect() as connection:
        await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    await server.dispose()


async def migrate(engine: AsyncEngine, run: Callable[..., None], revision: str) -> None:
    def within(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        run(config, revision)

    # No transaction around it: some steps have to run outside of one (CREATE INDEX CONCURRENTLY).
    async with engine.connect() as connection:
        await connection.run_sync(within)
        await connection.commit()


async def rows(engine: AsyncEngine, sql: str) -> list[tuple[Any, ...]]:
    async with engine.connect() as connection:
        return [tuple(row) for row in (await connection.execute(text(sql))).all()]


@contextmanager
def program(engine: AsyncEngine, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program beside this one, on the scratch database, from the root of the repository."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=kept | {"DATABASE_URL": engine.url.render_as_string(hide_password=False), "LOG_FORMAT": "json"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(engine: AsyncEngine, *arguments: str) -> str:
    with program(engine, *arguments) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


async def test_every_revision_goes_up_and_down_and_up_again(scratch: AsyncEngine) -> None:
    """Down leaves exactly what was there before, and the second up makes exactly what the first one made."""
    for number, revision in enumerate(REVISIONS):
        before = [row for row in await rows(scratch, SCHEMA) if row[1] != "alembic_version"]
        await migrate(scratch, command.upgrade, revision)
        after = await rows(scratch, SCHEMA)
        assert after != before
        await migrate(scratch, command.downgrade, REVISIONS[number - 1] if number else "base")
        assert [row for row in await rows(scratch, SCHEMA) if row[1] != "alembic_version"] == before
        await migrate(scratch, command.upgrade, revision)
        assert await rows(scratch, SCHEMA) == after


async def test_the_migrations_make_what_the_models_say(scratch: AsyncEngine) -> None:
    """Autogenerate finds no difference, and PostgreSQL describes both schemas in the same words.

    The second half sees what autogenerate does not look at: CHECKs, the exclusion constraint, conditions of indexes.
    """
    await migrate(scratch, command.upgrade, "head")
    migrated = [row for row in await rows(scratch, SCHEMA) if row[1] != "alembic_version"]

    def differences(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
        return found

    async with scratch.begin() as connection:
        assert await connection.run_sync(differences) == []
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
        await connection.run_sync(Base.metadata.create_all)
    assert migrated == await rows(scratch, SCHEMA)


async def test_the_database_itself_refuses_double_booking(scratch: AsyncEngine) -> None:
    """Live appointments of one doctor can't overlap; touching, ended and other doctors' ones can."""
    await migrate(scratch, command.upgrade, "head")

    async def book(doctor: int, start: str, end: str, status: str = "booked") -> str | None:
        try:
            async with scratch.begin() as connection:
                values = f"{doctor}, 1, '2030-01-01 {start}Z', '2030-01-01 {end}Z', '{status}'"
                columns = "doctor_id, patient_id, starts_at, ends_at, status"
                await connection.execute(text(f"INSERT INTO appointments ({columns}) VALUES ({values})"))
        except IntegrityError as error:
            return sqlstate(error)
        return None

    async with scratch.begin() as connection:
        for number in (1, 2):
            await connection.execute(text("INSERT INTO doctors (full_name, specialty) VALUES ('A', 'B')"))
            await connection.execute(
                text("INSERT INTO users (email, full_name, password_hash) VALUES (:email, 'P', '!')"),
                {"email": f"{number}@example.com"},
            )
    assert await book(1, "09:00", "09:30") is None
    assert await book(1, "09:29", "09:31") == EXCLUSION_VIOLATION
    assert await book(1, "08:00", "12:00", "completed") == EXCLUSION_VIOLATION
    assert await book(1, "09:30", "10:00") is None
    assert await book(2, "09:00", "09:30") is None
    assert await book(1, "09:00", "09:30", "cancelled") is None
    assert await book(1, "09:00", "09:30", "no_show") is None


async def test_a_migration_waits_for_its_rival(scratch: AsyncEngine) -> None:
    """While somebody else migrates, `python -m app migrate` waits without touching anything; then it does its part."""
    async with scratch.connect() as rival:
        await rival.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        await rival.commit()
        with program(scratch, "-m", "app", "migrate") as process:
            # It has asked for the lock at least once, and the transaction of that is over.
            waiting = """
                SELECT 1 FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'frontdesk-migrate' AND query LIKE 'COMMIT%'
            """
            await eventually(lambda: rows(scratch, waiting), seconds=30)
            assert process.poll() is None
            assert await rows(scratch, SCHEMA) == []
            await rival.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            await rival.commit()
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
    assert await rows(scratch, "SELECT version_num FROM alembic_version") == [(head_revision(),)]


async def _traffic(engine: AsyncEngine, stop: asyncio.Event) -> float:
    """Insert and count without a pause, as requests do, each within 3 s; the slowest of them in seconds."""
    slowest, loop = 0.0, asyncio.get_running_loop()
    async with engine.connect() as connection:
        await connection.execute(text("SET statement_timeout = '3s'"))
        await connection.commit()
        while not stop.is_set():
            began = loop.time()
            await connection.execute(text(INSERT_TOKEN), {"value": os.urandom(8)})
            await connection.execute(text("SELECT count(*) FROM one_time_tokens"))
            await connection.commit()
            slowest = max(slowest, loop.time() - began)
            await asyncio.sleep(0.005)
    return slowest


async def test_a_migration_stalls_nobody_behind_a_long_reader(scratch: AsyncEngine) -> None:
    """A reader keeps a table that is to be altered. The migration asks again and again and then gives up, saying who is
    in the way; reads and writes go on all the time. When the reader has ended, the same command does it all."""
    await migrate(scratch, command.upgrade, "0014")
    async with scratch.begin() as connection:
        await connection.execute(text("INSERT INTO users (email, full_name, password_hash) VALUES ('a@b.c', 'P', '!')"))
    stop = asyncio.Event()
    traffic = asyncio.create_task(_traffic(scratch, stop))
    async with scratch.connect() as reader:
        await reader.execute(text("SET application_name = 'a-long-report'"))
        await reader.execute(text("SELECT count(*) FROM one_time_tokens"))
        with program(scratch, "-m", "app", "migrate", DATABASE_MIGRATE_LOCK_ATTEMPTS="3") as process:
            output, _ = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 2
        assert "a-long-report" in output.splitlines()[-1]
        assert "run `python -m app migrate` again" in output.splitlines()[-1].lower()
        assert output.count("asking again") == 2
        assert await rows(scratch, "SELECT version_num FROM alembic_version") == [("0014",)]
        with program(scratch, "-m", "app", "migrate") as process:
            assert process.stdout is not None
            while "asking again" not in (line := await asyncio.to_thread(process.stdout.readline)):
                assert line, "it did not wait for the reader"
            await reader.rollback()
            output, _ = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0, output
    stop.set()
    slowest = await traffic
    assert await rows(scratch, "SELECT version_num FROM alembic_version") == [(head_revision(),)]
    print(f"the slowest statement beside the migration took {slowest:.2f} s")


async def test_a_former_release_lives_with_a_newer_database(scratch: AsyncEngine) -> None:
    """What a later release has migrated is ready for this one, and `python -m app migrate` leaves it alone."""
    await migrate(scratch, command.upgrade, "head")
    database = Database(DatabaseSettings(url=SecretStr(scratch.url.render_as_string(hide_password=False))), role="api")
    try:
        for revision, ready in (("9999", True), ("0001", False), ("unknown", False)):
            async with scratch.begin() as connection:
                await connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
            if ready:
                await migrations_ready(database)
                assert "nothing to migrate" in await asyncio.to_thread(finished, scratch, "-m", "app", "migrate")
                assert await rows(scratch, "SELECT version_num FROM alembic_version") == [(revision,)]
            else:
                with pytest.raises(Unavailable):
                    await migrations_ready(database)
    finally:
        await database.close()


async def test_both_commands_migrate(scratch: AsyncEngine) -> None:
    """`python -m app migrate` and Alembic's own command find the same scripts: each undoes what the other made."""
    finished(scratch, "-m", "alembic", "upgrade", "head")
    assert await rows(scratch, "SELECT version_num FROM alembic_version") == [(head_revision(),)]
    finished(scratch, "-m", "app", "migrate", "base")
    assert await rows(scratch, "SELECT version_num FROM alembic_version") == []


def test_our_folder_does_not_hide_the_library() -> None:
    """From the root of the repository `alembic` is the installed library, though a folder of that name lies there."""
    told = subprocess.run(
        [sys.executable, "-c", "import alembic, alembic.op; print(alembic.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "site-packages" in told.stdout
    assert (ROOT / "alembic" / "env.py").exists()
    assert not (ROOT / "alembic" / "__init__.py").exists()
