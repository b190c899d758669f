"""Engine, the two kinds of session, and what runs after a commit.

A `ReadSession` takes a connection for one statement, in autocommit, and gives it back (decision 14). A `WriteSession`
is one unit of work: one transaction, committed by the scope that opened it. They are different types, so that code
which writes can't be handed a session that never commits.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import blake2b
from typing import Any, ClassVar, Protocol

from sqlalchemy import (
    BigInteger,
    CursorResult,
    DateTime,
    Executable,
    MetaData,
    Row,
    Select,
    event,
    func,
    select,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Session, SessionTransaction
from sqlalchemy.util import greenlet_spawn

from app.config import DatabaseSettings
from app.core.engine import Role, make_engine
from app.core.errors import DomainError
from app.core.pool import PoolState, state_of

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]
Values = Mapping[str, Any] | None

ANSWER_WITHIN = 4.5
"""Seconds after which the API gives up on its database: the contract wants its 503 within 5 s, hung server or not."""
DEADLOCK_DETECTED, SERIALIZATION_FAILURE = "40P01", "40001"
LOCK_NOT_AVAILABLE = "55P03"
_RETRYABLE = {DEADLOCK_DETECTED, SERIALIZATION_FAILURE}
# Connection lost, log-in refused, resources short, stopped or cancelled by the operator or a timeout.
_AWAY_CLASSES = {"08", "28", "53", "57"}
# A lock that did not come free in time; a transaction that the server ended because it stood still or took too long.
_AWAY = {LOCK_NOT_AVAILABLE, "25P03", "25P04"}


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
        state = sqlstate(error) or ""
        away = state in _AWAY or state[:2] in _AWAY_CLASSES
        return error.connection_invalidated or isinstance(error, InterfaceError) or away
    return isinstance(error, PoolTimeoutError | OSError | TimeoutError)


class ReadSession:
    """Runs each statement on an autocommit connection that is held for that statement alone."""

    def __init__(self, engine: AsyncEngine, *, patience: float | None = None) -> None:
        self._engine = engine.sync_engine
        self._patience = patience

    async def _run(self, statement: Executable, values: Values = None) -> Sequence[AnyRow]:
        try:
            return await self._once(statement, values)
        except DBAPIError as error:
            # A pooled connection that died while idle: a read may simply be asked again.
            if not error.connection_invalidated:
                raise
            return await self._once(statement, values)

    async def _once(self, statement: Executable, values: Values) -> Sequence[AnyRow]:
        def run() -> Sequence[AnyRow]:
            with self._engine.connect() as connection:
                return connection.execute(statement, values).all()

        # One change of greenlets from taking the connection to giving it back, where AsyncConnection makes four and a
        # task: that was half the cost of a read by its key.
        async with asyncio.timeout(self._patience):
            rows: Sequence[AnyRow] = await greenlet_spawn(run)
        return rows

    async def rows(self, statement: Executable, values: Values = None) -> Sequence[AnyRow]:
        """Whatever the statement gives; `values` are those of the parameters of one that is made once."""
        return await self._run(statement, values)

    async def all(self, statement: AnySelect) -> Sequence[AnyRow]:
        return await self._run(statement)

    async def first(self, statement: AnySelect, values: Values = None) -> AnyRow | None:
        """The first row."""
        rows = await self._run(statement, values)
        return rows[0] if rows else None

    async def scalar(self, statement: AnySelect) -> Any:
        row = await self.first(statement)
        return row[0] if row else None


class Rows:
    """What a single statement gave."""

    def __init__(self, rows: Sequence[AnyRow]) -> None:
        self._rows = rows

    @classmethod
    def of(cls, result: CursorResult[*tuple[Any, ...]]) -> "Rows":
        return cls(result.all() if result.returns_rows else ())

    def all(self) -> Sequence[AnyRow]:
        return self._rows

    def first(self) -> AnyRow | None:
        return self._rows[0] if self._rows else None


class SingleStatements:
    """Runs each statement as a transaction of its own: one round trip, where a session takes three.

    For a step that is one statement and nothing else. A connection that died while idle is an error here: whoever
    calls knows whether the step may be repeated.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.sync_engine

    async def execute(self, statement: Executable, values: Values = None) -> Rows:
        def run() -> Rows:
            with self._engine.connect() as connection:
                return Rows.of(connection.execute(statement, values))

        return await greenlet_spawn(run)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """The statement is durable by the time that its result is known."""
        callback()


class _SyncSession(Session):
    """What WriteSession drives; of a class of its own so that its events are."""


@event.listens_for(_SyncSession, "after_transaction_create")
def _start_clock(session: Session, transaction: SessionTransaction) -> None:
    # From the first statement on: hashing, which comes before it in a sign-in, is not the database's time.
    deadline, patience = session.info.get("clock", (None, None))
    if transaction.parent is None and deadline is not None and patience is not None:
        deadline.reschedule(asyncio.get_running_loop().time() + patience)


@event.listens_for(_SyncSession, "after_transaction_create")
def _mark_recorded(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        session.info["marks"][transaction] = len(session.info["recorded"])


@event.listens_for(_SyncSession, "after_soft_rollback")
def _forget_recorded(session: Session, transaction: SessionTransaction) -> None:
    # What a savepoint undoes was never the case, though the transaction around it may still commit.
    if transaction.nested:
        del session.info["recorded"][session.info["marks"][transaction] :]


class WriteSession(AsyncSession):
    """One transaction. `after_commit` callbacks run once it is durable, and never when it rolled back.

    `recorded` holds what `before_commit` is still to handle; what a savepoint recorded goes when it is rolled back.
    """

    sync_session_class = _SyncSession

    def __init__(self, *args: Any, before_commit: "BeforeCommit | None" = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recorded: list[Any] = []
        self.info.update(recorded=self.recorded, marks={})
        self._before_commit = before_commit
        self._after_commit: dict[Callable[[], None], None] = {}
        self._before_answer: Callable[[], Awaitable[None]] | None = None

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Run `callback` after the commit; the same callback is kept once. It must not block or raise."""
        self._after_commit[callback] = None

    def before_answer(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Await `wait` once the commit is durable and its connection given back; only the last one given counts."""
        self._before_answer = wait

    async def carry_out(self, statement: str, *values: Any) -> Sequence[AnyRow]:
        """Run a statement of the driver's own (`$1` and so on; values as asyncpg takes them), and give its rows.

        It is in the transaction, traced, and its errors are the ones of `execute`. What is saved is the way through
        the ORM and the compiler: for what every request pays, and nothing else (decision 0106).
        """

        def run() -> Sequence[AnyRow]:
            return self.sync_session.connection().exec_driver_sql(statement, values).all()

        return await greenlet_spawn(run)

    async def commit(self) -> None:
        if self.recorded and self._before_commit is not None:
            await self._before_commit(self)
        await super().commit()
        callbacks, self._after_commit = list(self._after_commit), {}
        for callback in callbacks:
            callback()
        wait, self._before_answer = self._before_answer, None
        if wait is not None:
            await wait()

    async def rollback(self) -> None:
        self._after_commit.clear()
        self._before_answer = None
        self.recorded.clear()
        await super().rollback()


BeforeCommit = Callable[[WriteSession], Awaitable[None]]


Step = WriteSession | SingleStatements
"""Who carries out a step that may be a transaction of its own or a part of one."""


class Follower(Protocol):
    """What makes an answer wait until this process has heard what the transaction changed (core/notices.py)."""

    async def follow(self, session: WriteSession) -> None: ...


class Database:
    """The engine of one process and the sessions made from it."""

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        role: Role,
        pooled: bool = True,
        before_commit: BeforeCommit | None = None,
    ) -> None:
        # Autocommit is what a connection is in, and a transaction the exception: the many reads change nothing of it.
        autocommit = make_engine(settings, role=role, pooled=pooled)
        self.engine = autocommit.execution_options(isolation_level="READ COMMITTED")
        self._patience = ANSWER_WITHIN if role == "api" else None
        self.follower: Follower | None = None
        self.read = ReadSession(autocommit, patience=self._patience)
        self.lists = self.read
        """For what may be some seconds old: a replica, where there is one (core/replica.py)."""
        self._others: list[AsyncEngine] = []
        self.single = SingleStatements(autocommit)
        self._make = async_sessionmaker(
            self.engine, class_=WriteSession, expire_on_commit=False, autoflush=False, before_commit=before_commit
        )

    def read_lists_from(self, lists: ReadSession, engine: AsyncEngine) -> None:
        """Let lists come from `engine`, which is closed with this one."""
        self.lists = lists
        self._others.append(engine)

    @asynccontextmanager
    async def session_scope(self) -> AsyncIterator[WriteSession]:
        """One unit of work: commits when the block ends well, rolls back when it raises (but see DomainError)."""
        async with (
            asyncio.timeout(None) as deadline,
            self._make(info={"clock": (deadline, self._patience), "follower": self.follower}) as session,
        ):
            try:
                yield session
            except DomainError as error:
                if error.keeps_effects:
                    await session.commit()
                raise
            await session.commit()

    @property
    def pool_state(self) -> PoolState | None:
        """How full the pools are, all together; None without any."""
        return state_of(*(engine.pool for engine in (self.engine, *self._others)))

    async def close(self) -> None:
        for engine in (*self._others, self.engine):
            await engine.dispose()


async def ping(read: ReadSession) -> None:
    """Raises what stands between this process and its database."""
    await read.scalar(select(text("1")))


async def notify(session: ReadSession | WriteSession, channel: str, text: str) -> None:
    """Send a notice; a WriteSession's goes out with its commit."""
    await session.scalar(select(func.pg_notify(channel, text)))


async def hear_own_change(session: WriteSession) -> None:
    """Say so after writing what other requests may remember: the answer waits until this process has heard of it."""
    follower: Follower | None = session.info.get("follower")
    if follower is not None:
        await follower.follow(session)


@asynccontextmanager
async def listening_connection(settings: DatabaseSettings) -> AsyncIterator[Any]:
    """asyncpg's own connection, for LISTEN. Cut off at the end."""
    engine = make_engine(settings, role="listen", pooled=False)
    try:
        pooled = await engine.raw_connection()
        driver: Any = pooled.driver_connection
        pooled.detach()
        try:
            yield driver
        finally:
            driver.terminate()
    finally:
        await engine.dispose()


async def applied_revision(read: ReadSession) -> str | None:
    """The migration that the database is at."""
    revision: str | None = await read.scalar(select(text("version_num")).select_from(table("alembic_version")))
    return revision


def lock_number(name: str) -> int:
    """The advisory lock of that name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


async def take_turns(session: WriteSession, key: int) -> None:
    """Wait until no other transaction holds `key`, and hold it to the end of this one."""
    await session.execute(select(func.pg_advisory_xact_lock(key)))
