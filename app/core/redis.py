"""Clients of Redis (or Valkey) that fail fast: nothing that a request waits for may hang on it."""

from redis.asyncio import ConnectionPool, Redis

from app.config import RedisSettings


def make_pool(settings: RedisSettings) -> ConnectionPool:
    return ConnectionPool.from_url(
        settings.url.get_secret_value(),
        socket_connect_timeout=settings.timeout,
        socket_timeout=settings.timeout,
        socket_keepalive=True,
        health_check_interval=30,
    )


def make_redis(settings: RedisSettings) -> Redis:
    return Redis(connection_pool=make_pool(settings))
