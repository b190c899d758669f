"""PostgreSQL, Redis, and the job ledger on both."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, SecretStr

from app.config.common import Concern, is_address
from app.config.sentinel import is_sentinel, parse_sentinels


class DatabaseSettings(Concern):
    """PostgreSQL; timeouts in seconds. Pool size plus overflow is per process."""

    url: SecretStr = SecretStr("")
    pooler: Literal["none", "transaction"] = Field(default="none", description="what `url` leads through")
    direct_url: SecretStr = Field(default=SecretStr(""), description="past the pooler; unset: `url`")
    replica_url: SecretStr = Field(default=SecretStr(""), description="for lists and reports; unset: `url`")
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


class RedisSettings(Concern):
    """Redis or Valkey: the wake-up call of the queues, counters; never the record of accepted work."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    timeout: float = Field(default=1, gt=0, description="seconds for connecting and for an answer")

    def faults(self) -> Iterator[str]:
        url = self.url.get_secret_value()
        if is_sentinel(url):
            try:
                parse_sentinels(url)
            except ValueError:
                yield "REDIS_URL: must be of the form redis+sentinel://user:password@host:port,host:port/service/number"
        elif not is_address(url, "redis", "rediss", "unix"):
            yield (
                "REDIS_URL: must be of the form redis://user:password@host:port/number, or rediss:, or unix:, or"
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
    shutdown_grace: int = Field(default=15, ge=0)

    def faults(self) -> Iterator[str]:
        if self.heartbeat * 2 > self.lease:
            yield "JOBS_HEARTBEAT: must be at most half of JOBS_LEASE, or a live job loses its lease"
