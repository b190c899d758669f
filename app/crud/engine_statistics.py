"""What PostgreSQL says of itself to any role that may connect."""

from sqlalchemy import ColumnElement, and_, column, func, literal_column, or_, select, table

from app.core.database import AnyRow, ReadSession

COUNTED = ("xact_commit", "xact_rollback", "blks_read", "blks_hit", "deadlocks", "temp_bytes")
"""Columns of pg_stat_database that only grow."""
_sessions = table(
    "pg_stat_activity",
    *map(column, ("pid", "datname", "state", "backend_type", "wait_event_type", "xact_start")),
)
_counts = table("pg_stat_database", *map(column, ("datname", *COUNTED)))
_archiver = table("pg_stat_archiver", *map(column, ("last_archived_time", "last_failed_time", "stats_reset")))
# What has failed last is still told when archiving was switched off.
ARCHIVES: ColumnElement[bool] = literal_column("current_setting('archive_mode') <> 'off'")
_is_client = _sessions.c.backend_type == "client backend"
_is_here: ColumnElement[bool] = literal_column("datname = current_database()")


async def connections(read: ReadSession) -> dict[str, int]:
    """Connections of clients by state, over all databases of the server; "hidden" is what other roles do."""
    state = func.coalesce(_sessions.c.state, "hidden")
    rows = await read.all(select(state, func.count()).where(_is_client).group_by(state))
    return {row[0]: row[1] for row in rows}


async def server(read: ReadSession) -> AnyRow | None:
    """max_connections; of this database: size, lock_waits, and the age of its oldest transaction in seconds."""
    age = func.extract("epoch", func.now() - func.min(_sessions.c.xact_start))
    others = _sessions.c.pid != func.pg_backend_pid()
    statement = select(
        literal_column("current_setting('max_connections')::int").label("max_connections"),
        func.pg_database_size(func.current_database()).label("size"),
        func.count().filter(_sessions.c.wait_event_type == "Lock").label("lock_waits"),
        func.coalesce(age, 0).label("oldest"),
    )
    return await read.first(statement.select_from(_sessions).where(_is_client, _is_here, others))


async def archive_fails(read: ReadSession) -> float:
    """How many seconds ago the last piece of the WAL was archived, while the next can't be; 0 otherwise."""
    kept, failed = _archiver.c.last_archived_time, _archiver.c.last_failed_time
    since = func.coalesce(kept, _archiver.c.stats_reset)
    fails = or_(failed > kept, and_(failed.is_not(None), kept.is_(None)))
    statement = select(func.extract("epoch", func.now() - since)).select_from(_archiver).where(fails, ARCHIVES)
    return float(await read.scalar(statement) or 0)


async def counted(read: ReadSession) -> AnyRow | None:
    """What the server has counted of this database."""
    return await read.first(select(*(_counts.c[name] for name in COUNTED)).where(_is_here))
