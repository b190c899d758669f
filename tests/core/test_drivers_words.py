"""What a statement in the driver's own words shares with any other."""

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from app.core.database import is_unavailable
from tests.support import World

PID = "SELECT pg_backend_pid(), $1::int"


async def test_it_is_in_the_transaction(world: World) -> None:
    """It sees what the transaction wrote, its own write is undone with it, and the hook of the spans is called."""
    seen = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    engine = world.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        async with world.database.session_scope() as session:
            await session.execute(text("CREATE TABLE of_this_transaction (n int)"))
            inserted = await session.carry_out("INSERT INTO of_this_transaction VALUES ($1) RETURNING n", 3)
            assert [row.n for row in inserted] == [3]
            assert (await session.carry_out(PID, 5))[0] == (await session.scalar(text("SELECT pg_backend_pid()")), 5)
            await session.rollback()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert PID in seen
    assert (await world.rows("SELECT to_regclass('of_this_transaction') AS name"))[0].name is None


async def test_its_errors_are_those_of_any_statement(world: World) -> None:
    """A wrong value is SQLAlchemy's error without the value, and a connection that is cut is an absent database."""
    async with world.database.session_scope() as session:
        with pytest.raises(DBAPIError) as wrong:
            await session.carry_out("SELECT $1::int", "secret")
        assert not is_unavailable(wrong.value)
        assert "parameters hidden" in str(wrong.value)
        await session.rollback()
        pid = (await session.carry_out(PID, 1))[0][0]
        await world.execute("SELECT pg_terminate_backend(:pid)", pid=pid)
        with pytest.raises(DBAPIError) as cut:
            await session.carry_out(PID, 2)
        assert is_unavailable(cut.value)
        await session.rollback()
