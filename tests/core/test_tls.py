"""Who reaches PostgreSQL, Redis or the broker by TLS wants to know whom it reaches."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from kombu.exceptions import KombuError
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text

from app.config import RedisSettings, Settings
from app.core.database import Database, is_unavailable, listening_connection
from app.core.database_address import DatabaseAddress
from app.core.redis import make_redis
from app.tasks.broker import make_arq, make_celery
from tests.tls_front import LOOPBACK, Authority, TlsFront, by_tls, postgresql, redis_by_tls, valkey

ELSEWHERE = "127.0.0.2"


async def gone() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The tests have no RabbitMQ of their own; whom one talks to is settled before it is asked anything."""
    raise ConnectionRefusedError


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "a stranger's")


@pytest.fixture
async def front(settings: Settings, authority: Authority) -> AsyncIterator[TlsFront]:
    """TLS in front of PostgreSQL."""
    made = TlsFront(authority.serves(LOOPBACK), postgresql(settings), speaks_postgresql=True)
    async with made.listening():
        yield made


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca", "require"])
async def test_a_database_that_shows_who_it_is(
    settings: Settings, front: TlsFront, authority: Authority, mode: str
) -> None:
    """Statements and the connection that listens go through TLS, with authorities of our own."""
    reached = by_tls(settings, front.port, mode=mode, ca_file=authority.ca_file)
    database = Database(reached, role="api")
    try:
        async with database.session_scope() as session:
            assert await session.scalar(text("SELECT 41 + 1")) == 42
    finally:
        await database.engine.dispose()
    async with listening_connection(reached) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert front.greeted == 2


@pytest.mark.parametrize(("mode", "served"), [("verify-full", ELSEWHERE), ("verify-full", None), ("verify-ca", None)])
async def test_a_database_that_is_somebody_else(
    settings: Settings, authority: Authority, stranger: Authority, mode: str, served: str | None
) -> None:
    """Another name, and with a stranger's signature any name, is no database: nothing is said to it."""
    shown = authority.serves(served) if served else stranger.serves(LOOPBACK)
    async with TlsFront(shown, postgresql(settings), speaks_postgresql=True).listening() as front:
        database = Database(by_tls(settings, front.port, mode=mode, ca_file=authority.ca_file), role="api")
        with pytest.raises(ssl.SSLCertVerificationError) as refused:
            async with database.session_scope() as session:
                await session.execute(text("SELECT 1"))
        assert is_unavailable(refused.value)
        await database.engine.dispose()
        assert front.greeted == 0


async def test_only_the_systems_authorities(settings: Settings, front: TlsFront) -> None:
    """Without a file of ours the system's authorities count, of which ours is none."""
    database = Database(by_tls(settings, front.port, mode="verify-full", ca_file=None), role="api")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        async with database.session_scope() as session:
            await session.execute(text("SELECT 1"))
    await database.engine.dispose()


def test_what_pg_dump_is_told() -> None:
    """A backup encrypts and looks as the service does; what PG... says otherwise is not inherited."""
    ours = Path("/etc/ours.pem")
    for mode, ca_file, root in (
        ("verify-full", ours, "/etc/ours.pem"),
        ("verify-ca", ours, "/etc/ours.pem"),
        ("verify-full", None, "system"),
        ("require", None, None),
    ):
        address = DatabaseAddress(f"postgresql+asyncpg://me@db/clinic?ssl={mode}", ca_file)
        told = address.other("restored").environment()
        assert told["PGSSLMODE"] == mode
        assert told.get("PGSSLROOTCERT") == root
    assert "PGSSLMODE" not in DatabaseAddress("postgresql+asyncpg://me@db/clinic").environment()


async def test_redis(settings: Settings, authority: Authority, stranger: Authority) -> None:
    """rediss: looks at the signature and at the name, for counters and for ARQ."""

    async def asked(shown: ssl.SSLContext, *, ca_file: Path | None = authority.ca_file) -> int:
        async with TlsFront(shown, valkey(settings), speaks_postgresql=False).listening() as front:
            redis = RedisSettings(url=redis_by_tls(settings, "rediss", front.port), ca_file=ca_file)
            for client in (make_redis(redis), make_arq(settings.model_copy(update={"redis": redis}))):
                with suppress(RedisConnectionError):
                    assert await client.ping()
                await client.aclose()
            return front.greeted

    assert await asked(authority.serves(LOOPBACK)) == 2
    assert await asked(authority.serves(ELSEWHERE)) == 0
    assert await asked(stranger.serves(LOOPBACK)) == 0
    assert await asked(authority.serves(LOOPBACK), ca_file=None) == 0


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
async def test_celerys_broker(settings: Settings, authority: Authority, stranger: Authority, scheme: str) -> None:
    """Celery, which by itself looks at nothing, looks at the signature and at the name, on Redis and on RabbitMQ."""

    async def greeted(shown: ssl.SSLContext, *, by_redis_url: bool = False) -> int:
        behind = valkey(settings) if scheme == "rediss" else gone
        async with TlsFront(shown, behind, speaks_postgresql=False).listening() as front:
            url = redis_by_tls(settings, scheme, front.port)
            redis = RedisSettings(url=url, ca_file=authority.ca_file)
            jobs = settings.jobs.model_copy(update={"broker_url": url, "broker_ca_file": authority.ca_file})
            celery = make_celery(settings.model_copy(update={"redis": redis} if by_redis_url else {"jobs": jobs}))

            def connect() -> None:
                with celery.connection_for_write(connect_timeout=2) as connection:
                    connection.ensure_connection(max_retries=1, interval_start=0)
                    connection.channel().queue_declare("anything")

            with suppress(OSError, KombuError):
                await asyncio.to_thread(connect)
            return front.greeted

    assert await greeted(authority.serves(LOOPBACK)) > 0
    assert await greeted(authority.serves(ELSEWHERE)) == 0
    assert await greeted(stranger.serves(LOOPBACK)) == 0
    if scheme == "rediss":
        assert await greeted(authority.serves(LOOPBACK), by_redis_url=True) > 0
        assert await greeted(stranger.serves(LOOPBACK), by_redis_url=True) == 0
