"""So many within a time, of each key."""

import asyncio
import time
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.quota import Quota
from app.services.container import Container
from tests.ports import free_port

HOUR = timedelta(hours=1)


async def test_rivals_get_no_more_than_there_is(container: Container) -> None:
    """Of fifty at once five are granted, of each key, and nothing is kept of the others."""
    quota = Quota(container.redis, 5, HOUR)
    for key in ("one", "two"):
        granted = await asyncio.gather(*(quota.grants(key, str(number)) for number in range(50)))
        assert sum(granted) == 5
        assert await container.redis.zcard(f"quota/{key}") == 5
        assert 3590 <= await container.redis.ttl(f"quota/{key}") <= 3600


async def test_what_is_tried_again_counts_once(container: Container) -> None:
    """A thing that was granted is granted again, also when all is used up; one that was refused is not."""
    quota = Quota(container.redis, 2, HOUR)
    asked = ["first", "first", "second", "third", "first", "second", "third"]
    assert [await quota.grants("key", thing) for thing in asked] == [True, True, True, False, True, True, False]


async def test_room_comes_back(container: Container) -> None:
    """What is older than the window counts no longer, what is a minute younger does."""
    quota, now = Quota(container.redis, 1, HOUR), time.time()
    await container.redis.zadd("quota/old", {"before": now - 3601})
    await container.redis.zadd("quota/young", {"before": now - 3540})
    assert await quota.grants("old", "next")
    assert not await quota.grants("old", "before")
    assert not await quota.grants("young", "next")


async def test_without_redis_nothing_is_granted() -> None:
    """Redis away is an error, which the caller's next attempt may get over."""
    away = Redis(host="127.0.0.1", port=free_port())
    with pytest.raises(RedisError):
        await Quota(away, 5, HOUR).grants("key", "thing")
