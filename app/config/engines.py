"""PostgreSQL, Redis, and the job ledger on both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr

from app.config.common import Concern, ca_faults, is_address
from app.config.sentinel import is_sentinel, parse_sentinels

TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""What `?ssl=` of a database's address takes: libpq's `sslmode`, which asyncpg calls `ssl`."""


class DatabaseSettings(Concern):
    """PostgreSQL; timeouts in seconds. Pool size plus overflow is per process."""

    url: SecretStr = SecretStr("")
    pooler: Literal["none", "transaction"] = Field(default="none", description="what `url` leads through")
    direct_url: SecretStr = Field(default=SecretStr(""), description="past the pooler; unset: `url`")
    replica_url: SecretStr = Field(default=SecretStr(""), description="for lists and reports; unset: `url`")
    ca_file: Path | None = Field(
        default=None, description="PEM, the authorities of the servers' certificates; unset: the system's"
    )
    replica_lag: float = Field(default=5, gt=0, description="seconds behind, beyond which the primary is read")
    pool_size: int = Field(default=15, ge=1)
    pool_overflow: int = Field(
        default=0, ge=0, description="opened and closed again with every peak: rather a larger pool"
    )
    pool_wait: float = Field(default=3, gt=0, description="longest wait for a connection before 503")
    connect_timeout: float = Field(default=2, gt=0)
    command_timeout: float = Field(default=4, gt=0, description="longest wait of the API for one statement's answer")
    statement_timeout: float = Field(default=3, gt=0, description="the server's limit for one statement of the API")
    worker_statement_timeout: float = Field(default=60, gt=0)
    migrate_statement_timeout: float = Field(default=300, gt=0)
    migrate_lock_timeout: float = Field(default=0.5, gt=0)
    migrate_lock_attempts: int = Field(default=20, ge=1)
    lock_timeout: float = Field(default=2, gt=0)
    idle_in_transaction_timeout: float = Field(default=10, gt=0)

    @property
    def direct(self) -> SecretStr:
        """Where a connection is a session of the server's."""
        return self.direct_url if self.direct_url.get_secret_value() else self.url

    def faults(self) -> Iterator[str]:
        url = self.url.get_secret_value()
        if not url:
            yield "DATABASE_URL: is missing; set it, or use `make run`, which brings its own PostgreSQL"
        elif not is_address(url, "postgresql+asyncpg"):
            yield "DATABASE_URL: must be of the form postgresql+asyncpg://user:password@host:port/database"
        direct = self.direct_url.get_secret_value()
        for name, other in (("DIRECT", direct), ("REPLICA", self.replica_url.get_secret_value())):
            if other and not is_address(other, "postgresql+asyncpg"):
                yield f"DATABASE_{name}_URL: must be of the form postgresql+asyncpg://user:password@host:port/database"
        if self.pooler == "transaction" and not direct:
            yield "DATABASE_DIRECT_URL: is missing; behind a pooler, listening and migrations need an address past it"
        yield from ca_faults("DATABASE_CA_FILE", self.ca_file)
        for name in ("url", "direct_url", "replica_url"):
            if fault := self._tls_fault(getattr(self, name).get_secret_value()):
                yield f"DATABASE_{name.upper()}: {fault}"

    def _tls_fault(self, url: str) -> str | None:
        query = parse_qs(urlsplit(url).query)
        mode = query.get("ssl", ["prefer"])[-1]
        if "sslmode" in query or mode not in TLS_MODES:
            return f"say how to encrypt as ?ssl= and one of {', '.join(TLS_MODES)}; asyncpg knows no sslmode"
        if "sslrootcert" in query:
            return "name the authorities in DATABASE_CA_FILE, not as sslrootcert"
        if mode == "verify-ca" and self.ca_file is None:
            return "?ssl=verify-ca looks at no name, and wants authorities of your own in DATABASE_CA_FILE"
        return None


def is_redis(url: str) -> bool:
    """Whether it says where a Redis is, or the sentinels that know."""
    if not is_sentinel(url):
        return is_address(url, "redis", "rediss")
    try:
        parse_sentinels(url)
    except ValueError:
        return False
    return True


class RedisSettings(Concern):
    """Redis or Valkey: the wake-up call of the queues, counters; never the record of accepted work."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    ca_file: Path | None = Field(
        default=None, description="PEM, the authorities of its certificate, for rediss:; unset: the system's"
    )
    timeout: float = Field(default=1, gt=0, description="seconds for connecting and for an answer")

    def faults(self) -> Iterator[str]:
        yield from ca_faults("REDIS_CA_FILE", self.ca_file)
        if not is_redis(self.url.get_secret_value()):
            yield (
                "REDIS_URL: must be of the form redis://user:password@host:port/number, or rediss:, or"
                " redis+sentinel://user:password@host:port,host:port/service/number"
            )


class JobSettings(Concern):
    """The job ledger; seconds unless said otherwise."""

    lease: float = Field(default=15, ge=1)
    heartbeat: float = Field(default=4, gt=0)
    relay_interval: float = Field(default=1, gt=0)
    reap_interval: float = Field(default=3, gt=0)
    republish_after: float = Field(default=30, ge=1)
    concurrency: int = Field(default=20, ge=1, description="I/O jobs at once per worker process")
    cpu_processes: int = Field(default=1, ge=1, description="Celery children")
    child_jobs: int = Field(default=1000, ge=1, description="messages after which a Celery child is replaced")
    child_memory: int = Field(default=400, ge=100, description="MiB above which a Celery child is replaced")
    broker_url: SecretStr | None = Field(default=None, description="Celery's broker; unset: REDIS_URL")
    broker_ca_file: Path | None = Field(
        default=None, description="as REDIS_CA_FILE, for a `broker_url` of amqps: or rediss:"
    )
    shutdown_grace: int = Field(default=15, ge=0)

    def faults(self) -> Iterator[str]:
        yield from ca_faults("JOBS_BROKER_CA_FILE", self.broker_ca_file)
        broker = self.broker_url.get_secret_value() if self.broker_url else ""
        if broker and not is_address(broker, "amqp", "amqps") and not is_redis(broker):
            yield "JOBS_BROKER_URL: must be of the form amqp://user:password@host/vhost, or amqps:, or as REDIS_URL"
        if self.heartbeat * 2 > self.lease:
            yield "JOBS_HEARTBEAT: must be at most half of JOBS_LEASE, or a live job loses its lease"
