"""Changes of jobs are told over Redis."""

import asyncio

from app.core.job_changes import RedisAnnouncer
from app.services.container import Container


async def test_what_waits_for_company_is_sent_when_it_is_asked_for(container: Container) -> None:
    """However long a first announcement may wait for others, `flush` sends all at once, and the next waits anew."""
    announcer = RedisAnnouncer(container.redis, coalesce=60)
    async with container.redis.pubsub() as onlooker:
        await onlooker.subscribe("a", "b")
        for channel in ("a", "b"):
            announcer.announce(channel, "changed")
        async with asyncio.timeout(5):
            await announcer.flush()
        heard = [await onlooker.get_message(ignore_subscribe_messages=True, timeout=1) for _ in range(6)]
        assert [one["channel"] for one in heard if one] == [b"a", b"b"]
        announcer.announce("a", "again")
        assert not [one for one in [await onlooker.get_message(timeout=0.05) for _ in range(3)] if one]
        async with asyncio.timeout(5):
            await announcer.flush()
