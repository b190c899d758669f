"""Migrations, run over the service's own settings: expand first, contract later (decision 12)."""

import asyncio

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

import app.models  # noqa: F401 - fills the metadata
from alembic import context
from app.config import get_settings
from app.core.database import Base, Database

# Any number: one migration at a time, whoever starts it.
MIGRATION_LOCK = 4_721_001


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


async def _migrate(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        # Waits for a rival migration instead of failing on lock_timeout, which guards the tables.
        await connection.execute(text("SET lock_timeout = '60s'"))
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        await connection.execute(text("RESET lock_timeout"))
        await connection.commit()
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
        context.configure(url="postgresql+asyncpg://", target_metadata=Base.metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
    else:
        asyncio.run(_online())


run()
