"""How long a unit of work may take, and from when that counts."""

import asyncio
import time

import pytest
from sqlalchemy import Text, cast, func, select, text

from app.config import Settings
from app.core.database import Database, ping

PATIENCE = 0.3


async def test_the_clock_starts_with_the_first_statement(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before the first statement (hashing, in a sign-in) is not the database's time; what follows is."""
    monkeypatch.setattr("app.core.database.ANSWER_WITHIN", PATIENCE)
    database = Database(settings.database, role="api")
    try:
        async with database.session_scope() as session:
            await asyncio.sleep(PATIENCE * 1.5)
            assert await session.scalar(text("SELECT 1")) == 1
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with database.session_scope() as session:
                await session.execute(text("SELECT pg_sleep(2.9)"))
        assert PATIENCE <= time.monotonic() - began < 2.5
        await ping(database.read)
    finally:
        await database.close()


async def test_only_a_write_session_is_in_a_transaction(settings: Settings) -> None:
    """Two statements of a write session see one transaction, two of a read session none: each is its own."""
    database = Database(settings.database, role="api")
    transaction = select(cast(func.pg_current_xact_id(), Text))
    try:
        async with database.session_scope() as session:
            assert await session.scalar(transaction) == await session.scalar(transaction)
            assert await session.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert await database.read.scalar(transaction) != await database.read.scalar(transaction)
        async with database.session_scope() as session:
            assert await session.scalar(transaction) == await session.scalar(transaction)
    finally:
        await database.close()
