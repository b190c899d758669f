"""Clients of Redis (or Valkey) that fail fast: nothing that a request waits for may hang on it."""

from pathlib import Path
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from app.config import RedisSettings
from app.config.sentinel import is_sentinel, parse_sentinels


def make_pool(settings: RedisSettings) -> ConnectionPool:
    """Connections to the server, or to whichever one the sentinels call the primary when each is made."""
    url = settings.url.get_secret_value()
    options: dict[str, Any] = {
        "socket_connect_timeout": settings.timeout,
        "socket_timeout": settings.timeout,
        "socket_keepalive": True,
    }
    if not is_sentinel(url):
        return ConnectionPool.from_url(url, health_check_interval=30, **options, **tls_options(url, settings.ca_file))
    known = parse_sentinels(url)
    own = options | {"password": known.own_password}
    sentinels = Sentinel(known.addresses, sentinel_kwargs=own)  # type: ignore[no-untyped-call]  # redis-py has half its types
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]  # as above
        known.service,
        sentinels,
        db=known.database,
        username=known.username,
        password=known.password,
        health_check_interval=30,
        **options,
    )


def tls_options(url: str, ca_file: Path | None) -> dict[str, Any]:
    """For redis-py, which looks at no name by itself, and for Celery, which does not even look at the certificate."""
    if not url.startswith("rediss:"):
        return {}
    authorities = {"ssl_ca_certs": str(ca_file)} if ca_file else {}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **authorities}


def make_redis(settings: RedisSettings) -> Redis:
    return Redis(connection_pool=make_pool(settings))
