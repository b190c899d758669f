"""Engine, the two kinds of session, and what runs after a commit.

A `ReadSession` takes a connection for one statement, in autocommit, and gives it back (decision 14). A `WriteSession` is
one unit of work: one transaction, committed by the scope that opened it. They are different types, so that code which
writes can't be handed a session that never commits.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, Literal

from sqlalchemy import BigInteger, DateTime, Executable, MetaData, NullPool, Row, Select, text
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from app.config import DatabaseSettings
from app.core.errors import DomainError

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
Role = Literal["api", "worker", "migrate"]

DEADLOCK_DETECTED, SERIALIZATION_FAILURE = "40P01", "40001"
_RETRYABLE = {DEADLOCK_DETECTED, SERIALIZATION_FAILURE}
_OVERLOADED = {"53300", "57P01", "57P02", "57P03", "57014", "55P03", "25P03", "53100", "53200"}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger, datetime: DateTime(timezone=True)}


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's five-character error code, when the server sent one."""
    return getattr(error.orig, "sqlstate", None)


def constraint_of(error: DBAPIError) -> str | None:
    """The name of the constraint that the statement violated."""
    return getattr(error.orig.__cause__, "constraint_name", None) if error.orig else None


def is_retryable(error: BaseException) -> bool:
    """Whether the whole transaction may succeed when it is simply run again."""
    return isinstance(error, DBAPIError) and sqlstate(error) in _RETRYABLE


def is_unavailable(error: BaseException) -> bool:
    """Whether the database is away, starting, stopping, full or overloaded, as opposed to a fault of ours."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, InterfaceError) or sqlstate(error) in _OVERLOADED
    return isinstance(error, PoolTimeoutError | OSError | TimeoutError)


class ReadSession:
    """Runs each statement on an autocommit connection that is held for that statement alone."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def _run(self, statement: Executable) -> Sequence[Row[Any]]:
        try:
            return await self._once(statement)
        except DBAPIError as error:
            # A pooled connection that died while idle: a read may simply be asked again.
            if not error.connection_invalidated:
                raise
            return await self._once(statement)

    async def _once(self, statement: Executable) -> Sequence[Row[Any]]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement)).all()

    async def all(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        return await self._run(statement)

    async def first(self, statement: Select[Any]) -> Row[Any] | None:
        rows = await self._run(statement)
        return rows[0] if rows else None

    async def scalar(self, statement: Select[Any]) -> Any:
        row = await self.first(statement)
        return row[0] if row else None


class WriteSession(AsyncSession):
    """One transaction. `after_commit` callbacks run once it is durable, and never when it rolled back."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._after_commit: dict[Callable[[], None], None] = {}

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Run `callback` after the commit; the same callback is kept once. It must not block or raise."""
        self._after_commit[callback] = None

    async def commit(self) -> None:
        await super().commit()
        callbacks, self._after_commit = list(self._after_commit), {}
        for callback in callbacks:
            callback()

    async def rollback(self) -> None:
        self._after_commit.clear()
        await super().rollback()


class Database:
    """The engine of one process and the sessions made from it."""

    def __init__(self, settings: DatabaseSettings, *, role: Role, pooled: bool = True) -> None:
        self.engine = _make_engine(settings, role=role, pooled=pooled)
        self.read = ReadSession(self.engine)
        self._make = async_sessionmaker(self.engine, class_=WriteSession, expire_on_commit=False, autoflush=False)

    @asynccontextmanager
    async def session_scope(self) -> AsyncIterator[WriteSession]:
        """One unit of work: commits when the block ends well, rolls back when it raises (but see DomainError)."""
        async with self._make() as session:
            try:
                yield session
            except DomainError as error:
                if error.keeps_effects:
                    await session.commit()
                raise
            await session.commit()

    async def close(self) -> None:
        await self.engine.dispose()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _make_engine(settings: DatabaseSettings, *, role: Role, pooled: bool) -> AsyncEngine:
    statement = {
        "api": settings.statement_timeout,
        "worker": settings.worker_statement_timeout,
        "migrate": settings.migrate_statement_timeout,
    }[role]
    server_settings = {
        "application_name": f"frontdesk-{role}",
        "timezone": "UTC",
        "jit": "off",
        "statement_timeout": _milliseconds(statement),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
    }
    pool: dict[str, Any] = {"poolclass": NullPool}
    if pooled:
        pool = {
            "pool_size": settings.pool_size,
            "max_overflow": settings.pool_overflow,
            "pool_timeout": settings.pool_wait,
            "pool_use_lifo": True,
        }
    return create_async_engine(
        settings.url.get_secret_value(),
        connect_args={
            "timeout": settings.connect_timeout,
            "command_timeout": settings.command_timeout if role == "api" else statement + 1,
            "server_settings": server_settings,
        },
        **pool,
    )


async def granted_connections(database: Database) -> int:
    """How many connections the server grants to ordinary roles in total."""
    granted = text(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    )
    async with database.engine.connect() as connection:
        return int((await connection.execute(granted)).scalar_one())
