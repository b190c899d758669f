"""The embedded engines on their own."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deploy.local import leftovers
from deploy.local.account import Account, unprivileged
from deploy.local.engines import Engine, EngineError, PostgresEngine, ValkeyEngine

Start = Callable[..., object]


async def ask(url: str, statement: str) -> object:
    """The one value of a statement, committed."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        await engine.dispose()


def kill(engine: Engine) -> None:
    """SIGKILL to the main process."""
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    assert engine._process is not None
    engine._process.wait()


async def test_postgres_serves_sqlalchemy(postgres: PostgresEngine) -> None:
    """The address works in SQLAlchemy as it is, on a UTF-8 database that folds the case of every letter."""
    assert await ask(postgres.url, "SELECT current_database() || lower('ÄÖ')") == "frontdesk" + "äö"
    assert await ask(postgres.url, "SHOW server_encoding") == "UTF8"
    assert await ask(postgres.url, "SHOW max_connections") == "100"


async def test_postgres_asks_for_the_password(postgres: PostgresEngine) -> None:
    """Nobody gets in without the generated password, which only its owner may read."""
    secret = (postgres.state / "postgres.password").read_text()
    with pytest.raises(DBAPIError, match="password authentication failed"):
        await ask(postgres.url.replace(secret, "guess"), "SELECT 1")
    assert stat.S_IMODE((postgres.state / "postgres.password").stat().st_mode) == 0o600
    assert stat.S_IMODE(postgres.sockets.stat().st_mode) == 0o700


async def test_postgres_is_durable_unless_told_otherwise(tmp_path: Path, postgres: PostgresEngine) -> None:
    """`settings` reach the server, and fsync is on where they say nothing."""
    assert await ask(postgres.url, "SHOW fsync") == "off"
    durable = PostgresEngine(tmp_path / "durable")
    durable.start()
    try:
        assert await ask(durable.url, "SHOW fsync") == "on"
    finally:
        durable.stop()


async def test_postgres_keeps_what_was_committed_through_sigkill(postgres: PostgresEngine) -> None:
    """After a SIGKILL of the postmaster `start` recovers by itself, though backends were in the middle of something."""
    await ask(postgres.url, "CREATE TABLE kept AS SELECT 42 AS x")
    holding = create_async_engine(postgres.url)
    async with holding.connect() as connection:
        await connection.execute(text("SELECT 1"))
        kill(postgres)
        postgres.start()
        await connection.invalidate()
    await holding.dispose()
    assert await ask(postgres.url, "SELECT x FROM kept") == 42


def test_postgres_starts_warm_within_two_seconds_and_stops_within_three(postgres: PostgresEngine) -> None:
    """Only the first start makes the cluster. One try of some is enough: a busy machine makes any of them longer."""
    took = []
    for _ in range(5):
        began = time.monotonic()
        postgres.stop()
        stopped = time.monotonic()
        postgres.start()
        took.append((stopped - began, time.monotonic() - stopped))
        if took[-1][0] < 3 and took[-1][1] < 2:
            return
    raise AssertionError(f"seconds to stop and to start: {took}")


async def test_a_stale_pid_file_with_a_foreign_pid_is_no_obstacle(postgres: PostgresEngine, sleeper: Start) -> None:
    """A pid file whose pid belongs to somebody else by now stops neither the start nor that process."""
    foreign = sleeper()
    kill(postgres)
    path = postgres.directory / "postmaster.pid"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([str(foreign.pid), *lines[1:]]) + "\n")  # type: ignore[attr-defined]
    postgres.start()
    assert await ask(postgres.url, "SELECT 1") == 1
    assert foreign.poll() is None  # type: ignore[attr-defined]


def test_an_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    """Half a cluster is never taken for a whole one."""
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    engine = PostgresEngine(tmp_path, settings={"fsync": "off"})
    engine.start()
    engine.stop()
    assert not (tmp_path / "postgres.new").exists()


def test_a_server_that_lost_its_owner_is_replaced(tmp_path: Path) -> None:
    """A postmaster that still runs from an earlier process is ended by the next start."""
    first = PostgresEngine(tmp_path, settings={"fsync": "off"})
    first.start()
    first.close()  # as if the process that held the directory had gone without a word
    second = PostgresEngine(tmp_path, settings={"fsync": "off"})
    second.start()
    assert first._process is not None
    assert first._process.wait(5) == 0
    assert second.pid is not None
    second.stop()
    assert leftovers.find(tmp_path.resolve()) == []


def test_one_owner_at_a_time(postgres: PostgresEngine, valkey: ValkeyEngine) -> None:
    """A state directory in use is refused, not taken over."""
    for engine in (PostgresEngine(postgres.state), ValkeyEngine(valkey.state)):
        with pytest.raises(EngineError, match="run by another process"):
            engine.start()


def test_a_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A directory in the temporary directory that others may write to is never used."""
    engine = PostgresEngine(tmp_path)
    engine.sockets.mkdir()
    engine.sockets.chmod(0o777)
    try:
        with pytest.raises(EngineError, match="not a private directory"):
            engine.start()
    finally:
        engine.stop()
        assert not engine.sockets.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to drop")
def test_root_is_dropped_and_closed_directories_stay_closed(postgres: PostgresEngine) -> None:
    """As root the server runs as a plain account with one capability at most, and no parent directory was opened."""
    status = Path(f"/proc/{postgres.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    account = unprivileged(postgres.directory)
    assert account is not None
    assert set(fields["Uid"].split()) == {str(account.uid)} != {"0"}
    assert int(fields["CapEff"], 16) in {0, 1 << 1, 1 << 2}
    assert stat.S_IMODE(postgres.state.stat().st_mode) & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="looks at directories as another account")
def test_a_capability_is_kept_only_where_a_directory_is_closed(tmp_path: Path) -> None:
    """An account that can walk to everything gets nothing extra."""
    nobody = Account(65534, 65534)
    assert nobody.capability_for(Path("/bin/sh"), [Path("/usr")]) is None
    assert nobody.capability_for(Path("/bin/sh"), [tmp_path / "data"]) == "search"


def test_valkey_asks_for_the_password_and_keeps_nothing(valkey: ValkeyEngine) -> None:
    """It answers the generated password only, and starts empty."""
    client = Redis.from_url(valkey.url)
    client.set("x", 1)
    with pytest.raises(AuthenticationError):
        Redis.from_url(valkey.url.replace((valkey.state / "valkey.password").read_text(), "")).ping()
    client.close()
    valkey.stop()
    valkey.start()
    assert Redis.from_url(valkey.url).dbsize() == 0


def test_valkey_keeps_its_address_through_sigkill(valkey: ValkeyEngine) -> None:
    """Clients find it again where it was."""
    before = valkey.url
    kill(valkey)
    valkey.start()
    assert valkey.url == before
    assert Redis.from_url(before).ping()


def test_valkey_takes_another_port_when_its_own_is_taken(valkey: ValkeyEngine) -> None:
    """A later process moves aside when somebody else listens on the remembered port."""
    before = valkey.url
    valkey.stop()
    port = int((valkey.directory / "port").read_text())
    with socket.create_server(("127.0.0.1", port)):
        later = ValkeyEngine(valkey.state)
        later.start()
        assert later.url != before
        assert Redis.from_url(later.url).ping()
        later.stop()
