"""What backups and restores ask of a database, and the record of backups that are complete."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, literal_column, select, table, text, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import ReadSession, SingleStatements, WriteSession, lock_number
from app.models import AuthSession, Backup

BACKUP_LOCK, VERIFY_LOCK = lock_number("backup"), lock_number("verify-backup")
# Everything of a schema that a restore could fail to bring back, by name, and in force.
_OBJECTS = """
SELECT 'constraints' AS kind, conrelid::regclass || '.' || conname AS name FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND convalidated
UNION ALL SELECT 'indexes', indexrelid::regclass::text FROM pg_index JOIN pg_class ON oid = indexrelid
WHERE relnamespace = 'public'::regnamespace AND indisvalid
UNION ALL SELECT 'triggers', tgrelid::regclass || '.' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal AND tgenabled <> 'D'
"""
_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
# Who must exist for a dump's GRANTs to succeed: everybody named in one but the owner of what was granted.
_GRANTED = """
SELECT DISTINCT rolname FROM pg_roles JOIN (
  SELECT grantee, relowner AS owner FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT grantee, proowner FROM pg_proc, aclexplode(proacl) WHERE pronamespace = 'public'::regnamespace
  UNION ALL SELECT grantee, nspowner FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public'
  UNION ALL SELECT grantee, 0 FROM pg_default_acl, aclexplode(defaclacl)
  UNION ALL SELECT defaclrole, 0 FROM pg_default_acl
) AS granted ON grantee = pg_roles.oid
WHERE grantee <> owner AND rolname !~ '^pg_'
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of the database that other sessions can look at while the transaction lasts."""

    id: str
    taken_at: datetime
    server_major: int


async def hold_moment(session: WriteSession) -> None:
    """See one moment of the database to the end of the transaction, and write nothing. The session's first step."""
    await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


async def freeze(session: WriteSession) -> Snapshot | None:
    """Hold this moment to the end of the transaction; None while another backup is made. The session's first step."""
    await hold_moment(session)
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(BACKUP_LOCK))):
        return None
    row = (
        await session.execute(
            select(
                func.pg_export_snapshot().label("id"),
                func.now().label("at"),
                func.current_setting("server_version_num").label("version"),
            )
        )
    ).one()
    return Snapshot(row.id, row.at, int(row.version) // 10000)


async def row_counts(session: WriteSession) -> dict[str, int]:
    """How many rows each table has, as this transaction sees it."""
    names = sorted((await session.execute(text(_TABLES))).scalars())
    return {name: int(await session.scalar(select(func.count()).select_from(table(name))) or 0) for name in names}


async def objects(session: WriteSession) -> dict[str, list[str]]:
    """The names of constraints, indexes and triggers that are in force."""
    found: dict[str, list[str]] = {"constraints": [], "indexes": [], "triggers": []}
    for row in await session.execute(text(_OBJECTS)):
        found[row.kind].append(row.name)
    return {kind: sorted(names) for kind, names in found.items()}


async def revision(session: WriteSession) -> str:
    """The migration that the database is at; empty when it has none."""
    if await session.scalar(select(func.to_regclass("public.alembic_version"))) is None:
        return ""
    return str(await session.scalar(text("SELECT version_num FROM alembic_version")) or "")


async def granted_roles(session: WriteSession) -> list[str]:
    """Whom privileges were granted to, beside the owner."""
    return sorted((await session.execute(text(_GRANTED))).scalars())


async def missing_roles(read: ReadSession, names: Collection[str]) -> list[str]:
    """Those of the names that no role of the server has."""
    there = {row.rolname for row in await read.all(select(literal_column("rolname")).select_from(table("pg_roles")))}
    return sorted(set(names) - there)


async def server_major(read: ReadSession) -> int:
    return int(await read.scalar(select(func.current_setting("server_version_num")))) // 10000


async def database_names(read: ReadSession) -> set[str]:
    return {row.datname for row in await read.all(select(literal_column("datname")).select_from(table("pg_database")))}


async def is_empty(read: ReadSession) -> bool:
    """Whether the database has nothing of anybody's in it."""
    ours = text(
        "relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')"
    )
    return not await read.scalar(select(func.count()).select_from(table("pg_class")).where(ours))


async def connections_to(read: ReadSession, name: str) -> int:
    """How many sessions others have in the database of that name."""
    own = func.pg_backend_pid()
    activity = table("pg_stat_activity")
    where = (literal_column("datname") == name, literal_column("pid") != own)
    return int(await read.scalar(select(func.count()).select_from(activity).where(*where)))


async def create_database(single: SingleStatements, name: str) -> None:
    """An empty database, of the collation that the server has for all."""
    await single.execute(text(f"CREATE DATABASE {_quoted(name)} TEMPLATE template0"))


async def drop_database(single: SingleStatements, name: str) -> None:
    """With everything in it and whoever is connected; one that is not there is fine."""
    await single.execute(text(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)"))


async def swap_databases(session: WriteSession, *, name: str, aside: str, successor: str) -> None:
    """Rename `name` to `aside` and `successor` to `name`, both or neither. Fails while anybody is connected."""
    await session.execute(text(f"ALTER DATABASE {_quoted(name)} RENAME TO {_quoted(aside)}"))
    await session.execute(text(f"ALTER DATABASE {_quoted(successor)} RENAME TO {_quoted(name)}"))


async def try_turn(session: WriteSession, key: int) -> bool:
    """Hold the lock to the end of the transaction, unless somebody else has it."""
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(key))))


async def skip_ids(session: WriteSession, gap: int) -> int:
    """Let every sequence go on `gap` further; returns how many there are."""
    sequences = text("SELECT quote_ident(sequencename) AS name FROM pg_sequences WHERE schemaname = 'public'")
    names = sorted(row.name for row in await session.execute(sequences))
    for name in names:
        # setval, not ALTER SEQUENCE … RESTART: it needs no ownership.
        await session.execute(text(f"SELECT setval('public.{name}', nextval('public.{name}') + :gap)"), {"gap": gap})
    return len(names)


async def end_sessions(session: WriteSession) -> int:
    """End every session of everybody; returns how many."""
    statement = update(AuthSession).where(AuthSession.revoked_at.is_(None)).values(revoked_at=func.now())
    return int((await session.execute(statement)).rowcount)  # type: ignore[attr-defined]  # an UPDATE has it


async def record(session: WriteSession, *, name: str, taken_at: datetime, size: int) -> None:
    """Note a backup that is complete."""
    await session.execute(insert(Backup).values(name=name, taken_at=taken_at, size=size).on_conflict_do_nothing())


async def mark_verified(session: WriteSession, name: str) -> None:
    await session.execute(update(Backup).where(Backup.name == name).values(verified_at=func.now()))


async def forget(session: WriteSession, names: Collection[str]) -> None:
    """The backups are gone."""
    await session.execute(delete(Backup).where(Backup.name.in_(names)))


async def last_verified(read: ReadSession) -> str | None:
    """The youngest backup that is known to restore."""
    statement = select(Backup.name).where(Backup.verified_at.is_not(None)).order_by(Backup.taken_at.desc()).limit(1)
    name: str | None = await read.scalar(statement)
    return name


async def last(read: ReadSession) -> Any:
    """`at`, `size` and `verified_at` of the youngest backup; each None when there is none."""
    newest = select(Backup.finished_at, Backup.size).order_by(Backup.taken_at.desc()).limit(1).subquery()
    return await read.first(
        select(
            select(newest.c.finished_at).scalar_subquery().label("at"),
            select(newest.c.size).scalar_subquery().label("size"),
            select(func.max(Backup.verified_at)).scalar_subquery().label("verified_at"),
        )
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
