"""Migrations, run over the service's own settings: expand first, contract later (decision 12)."""

import asyncio

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import app.models  # noqa: F401 - fills the metadata
from alembic import context
from app.config import get_settings
from app.core.database import Base, Database

# Any number: one migration at a time, whoever starts it.
MIGRATION_LOCK = 4_721_001
WAIT_SECONDS = 60


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


async def _migrate(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await _wait_for_rivals(connection)
        await connection.run_sync(_run)
        await connection.commit()


async def _online() -> None:
    database = Database(get_settings().database, role="migrate", pooled=False)
    try:
        await _migrate(database.engine)
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
