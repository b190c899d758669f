"""Which failures of the database are an outage, and which are ours."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.core.database import is_retryable, is_unavailable

AWAY = [
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidPasswordError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
]
OURS = [
    asyncpg.UndefinedTableError,
    asyncpg.UniqueViolationError,
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.DivisionByZeroError,
    asyncpg.InsufficientPrivilegeError,
]
AGAIN = [asyncpg.DeadlockDetectedError, asyncpg.SerializationError]


def wrapped(kind: type[asyncpg.PostgresError], *, invalidated: bool = False) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, kind("it happened"), connection_invalidated=invalidated)


@pytest.mark.parametrize("kind", AWAY)
def test_the_database_is_away(kind: type[asyncpg.PostgresError]) -> None:
    """What the server says when it stops, starts, is full or gives up waiting is an outage."""
    assert is_unavailable(wrapped(kind))


@pytest.mark.parametrize("kind", OURS)
def test_the_fault_is_ours(kind: type[asyncpg.PostgresError]) -> None:
    """What the server says of a wrong statement is no outage, unless the connection went with it."""
    assert not is_unavailable(wrapped(kind))
    assert not is_retryable(wrapped(kind))
    assert is_unavailable(wrapped(kind, invalidated=True))


@pytest.mark.parametrize("kind", AGAIN)
def test_the_transaction_lost_to_a_rival(kind: type[asyncpg.PostgresError]) -> None:
    """A deadlock and a serialization failure are worth another attempt."""
    assert is_retryable(wrapped(kind))


@pytest.mark.parametrize("error", [OSError(), ConnectionRefusedError(), TimeoutError(), PoolTimeoutError()])
def test_nobody_answers(error: Exception) -> None:
    """No connection, no answer in time and no connection of the pool in time are outages."""
    assert is_unavailable(error)


def test_other_errors_are_ours() -> None:
    """An error of the code is no outage; the driver's own report of a broken connection is one."""
    assert not is_unavailable(KeyError("x"))
    assert is_unavailable(InterfaceError("SELECT 1", {}, Exception("connection is closed")))
