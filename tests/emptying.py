"""Every table as if nothing had ever been written: what the tests do after each test, so it has to be quick."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.database import Base

# The signing keys belong to the installation: processes and `world` go on to sign with them.
KEPT = frozenset({"signing_keys"})
BIG = 1024 * 1024
"""Bytes from which on a table gets a new file. Below, deleting is quicker: most tests have written to few tables, a
TRUNCATE of all of them makes and removes two hundred files, and every process plans its statements anew."""
RESTART = """
    SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false) FROM pg_sequences
    WHERE schemaname = 'public' AND last_value IS NOT NULL
"""


async def empty(connection: AsyncConnection) -> None:
    """Within the transaction of this connection, whose account is a superuser; ids begin at 1 again."""
    tables = sorted(Base.metadata.tables.keys() - KEPT)
    # The audit record refuses to be emptied; what the tests may is to turn triggers off, as superuser.
    await connection.execute(text("SET LOCAL session_replication_role = replica"))
    # Whoever still writes is waited for, as TRUNCATE would: its rows are none of the next test's.
    await connection.execute(text(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE"))
    looked = " UNION ALL ".join(
        f"SELECT '{one}', pg_relation_size('{one}') WHERE EXISTS (SELECT FROM {one})" for one in tables
    )
    written = [tuple(row) for row in await connection.execute(text(looked))]
    if any(size > BIG for _, size in written):
        await connection.execute(text(f"TRUNCATE {', '.join(tables)} CASCADE"))
    else:
        for table, _ in written:
            await connection.execute(text(f"DELETE FROM {table}"))
    await connection.execute(text(RESTART))
