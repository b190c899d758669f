"""Changes of jobs, and that there are some, are told over Redis."""

import asyncio
from typing import Any, ClassVar

from redis.asyncio import Redis

from app.core.context import Cause, bound, current_cause
from app.core.job_changes import RedisAnnouncer
from app.core.redis import make_pool
from app.core.wakeup import RedisWaker
from app.services.container import Container
from tests.support import eventually


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


class Watched(Redis):
    """Notes on whose behalf it was told something."""

    causes: ClassVar[list[Cause]] = []

    def publish(self, *arguments: Any, **options: Any) -> Any:
        self.causes.append(current_cause())
        return super().publish(*arguments, **options)

    def pipeline(self, *arguments: Any, **options: Any) -> Any:
        self.causes.append(current_cause())
        return super().pipeline(*arguments, **options)


async def test_what_is_told_belongs_to_no_request(container: Container) -> None:
    """Who comes first has others' news sent with his own: in his trace are neither."""
    redis = Watched(connection_pool=make_pool(container.settings.redis))
    announcer, waker = RedisAnnouncer(redis), RedisWaker(redis)

    async def told() -> bool:
        return len(Watched.causes) == 2

    with bound(Cause(request_id="r-1", user_id=1)):
        announcer.announce("a", "changed")
        waker.wake()
        assert await eventually(told)
    assert Watched.causes == [Cause(), Cause()]
    await redis.aclose()
