"""Migrations, run over the service's own settings: expand first, contract later (decision 12)."""

import asyncio
import random

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import app.models  # noqa: F401 - fills the metadata
from alembic import context
from app.config import get_settings
from app.core.database import LOCK_NOT_AVAILABLE, Base, Database, sqlstate
from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.services.readiness import head_revision, is_newer

# Any number: one migration at a time, whoever starts it.
MIGRATION_LOCK = 4_721_001
WAIT_SECONDS = 60
LONGEST_PAUSE = 5.0
# Whoever is in a transaction for longer than a pause is likely to hold what the migration needs.
IN_THE_WAY = text("""
    SELECT format('pid %s (%s, in a transaction for %s s)', pid, nullif(application_name, ''),
                  extract(epoch FROM now() - xact_start)::int)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < now() - interval '1 second'
      AND backend_type = 'client backend'
    ORDER BY xact_start LIMIT 5
""")
log = get_logger("app.migrate")


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _wait_for_rivals(connection: AsyncConnection) -> None:
    """Hold the lock to the end of the connection.

    It is asked for again and again, not waited for: a statement that waits holds a snapshot, and CREATE INDEX
    CONCURRENTLY of the rival would wait for that in turn.
    """
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            asked = await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            await connection.commit()
            if asked.scalar_one():
                return
            await asyncio.sleep(0.2)


async def _has_newer(connection: AsyncConnection) -> bool:
    """Whether a later release has been here, and there is nothing to do: the former one is started once more."""
    there = (await connection.execute(text("SELECT to_regclass('alembic_version')"))).scalar()
    found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar() if there else None
    await connection.commit()
    if not is_newer(found):
        return False
    log.warning("the database is newer than this release: nothing to migrate", database=found, release=head_revision())
    return True


async def _run_when_free(connection: AsyncConnection, attempts: int) -> None:
    """Run what is missing, each revision in its transaction; ask again when a table is held by somebody.

    A statement that waits for a lock stops everybody who comes later. So it waits shortly, and then lets them pass.
    """
    for attempt in range(1, attempts + 1):
        try:
            await connection.run_sync(_run)
            await connection.commit()
        except DBAPIError as error:
            await connection.rollback()
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
            holders = [str(row[0]) for row in await connection.execute(IN_THE_WAY)]
            await connection.rollback()
            if attempt == attempts:
                raise Unavailable(_gave_up(attempts, holders)) from error
        else:
            return
        pause = min(LONGEST_PAUSE, 0.25 * 2 ** min(attempt, 5)) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        log.warning("a table is held by somebody: asking again", attempt=attempt, pause=round(pause, 1), by=holders)
        await asyncio.sleep(pause)


def _gave_up(attempts: int, holders: list[str]) -> str:
    return (
        f"The migration could not have a table for itself, {attempts} times; what was begun is taken back, and nothing "
        f"is half-done. In the way: {', '.join(holders) or 'nobody any more'}. Run `python -m app migrate` again when "
        "that has ended, or end it: SELECT pg_terminate_backend(PID)."
    )


async def _migrate(engine: AsyncEngine, attempts: int) -> None:
    async with engine.connect() as connection:
        await _wait_for_rivals(connection)
        if context.config.attributes.get("to_head") and await _has_newer(connection):
            return
        await _run_when_free(connection, attempts)


async def _online() -> None:
    settings = get_settings().database
    database = Database(settings, role="migrate", pooled=False)
    try:
        await _migrate(database.engine, settings.migrate_lock_attempts)
    finally:
        await database.close()


def run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run(connection)
    elif context.is_offline_mode():
        context.configure(
            url="postgresql+asyncpg://",
            target_metadata=Base.metadata,
            literal_binds=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    else:
        asyncio.run(_online())


run()
