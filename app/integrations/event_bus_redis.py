"""Events over Redis Streams, read by a consumer group."""

from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from app.config import EventsSettings
from app.integrations.event_bus import BusUnavailable, Delivery, OuterEvent

_FIELD = b"event"
_LONGEST_REASON = 500
T = TypeVar("T")


class RedisStreams:
    """`consumer` names this process within the group; `wait` is the longest pause for a message, in seconds: shorter
    than the client's own patience.
    """

    def __init__(self, redis: Redis, settings: EventsSettings, *, consumer: str, wait: float = 0.4) -> None:
        self._redis = redis
        self._settings = settings
        self._consumer = consumer
        self._wait = wait

    async def publish(self, event: OuterEvent) -> None:
        fields: dict[Any, Any] = {_FIELD: event.model_dump_json()}
        settings = self._settings
        await _asked(self._redis.xadd(settings.outbox, fields, maxlen=settings.keep, approximate=True))

    async def receive(self, *, limit: int = 10) -> list[Delivery]:
        try:
            return await self._receive(limit)
        except BusUnavailable as error:
            if not isinstance(error.__cause__, ResponseError) or "NOGROUP" not in str(error.__cause__):
                raise
        # The first look of all, or Redis was emptied. From the beginning: what is there has nobody else to take it.
        await self._make_group()
        return await self._receive(limit)

    async def ack(self, delivery: Delivery) -> None:
        await _asked(self._redis.xack(self._settings.inbox, self._settings.group, delivery.handle))

    async def bury(self, delivery: Delivery, *, reason: str) -> None:
        # In this order: a crash in between buries twice, and loses nothing.
        about: dict[Any, Any] = {_FIELD: delivery.body, b"reason": reason[:_LONGEST_REASON], b"id": delivery.handle}
        await _asked(self._redis.xadd(self._settings.dead, about, maxlen=self._settings.keep, approximate=True))
        await self.ack(delivery)

    async def close(self) -> None:
        """The client belongs to the process."""

    async def _receive(self, limit: int) -> list[Delivery]:
        inbox, group = self._settings.inbox, self._settings.group
        idle = round(self._settings.claim_after * 1000)
        claimed = await _asked(self._redis.xautoclaim(inbox, group, self._consumer, idle, start_id="0-0", count=limit))
        if left := [(handle, fields) for handle, fields in claimed[1] if fields is not None]:
            counts = await self._attempts(left[0][0], left[-1][0], len(left))
            return [_delivery(handle, fields, counts.get(handle, 1)) for handle, fields in left]
        wait = round(self._wait * 1000)
        read = await _asked(self._redis.xreadgroup(group, self._consumer, {inbox: ">"}, count=limit, block=wait))
        return [_delivery(handle, fields, 1) for _, messages in read or [] for handle, fields in messages]

    async def _attempts(self, first: bytes, last: bytes, count: int) -> dict[bytes, int]:
        pending = self._redis.xpending_range(
            self._settings.inbox, self._settings.group, min=first, max=last, count=count, consumername=self._consumer
        )
        return {one["message_id"]: int(one["times_delivered"]) for one in await _asked(pending)}

    async def _make_group(self) -> None:
        made = self._redis.xgroup_create(self._settings.inbox, self._settings.group, id="0", mkstream=True)
        try:
            await _asked(made)
        except BusUnavailable as error:
            if "BUSYGROUP" not in str(error.__cause__):
                raise


def _delivery(handle: bytes, fields: dict[bytes, bytes], attempts: int) -> Delivery:
    return Delivery(handle.decode(), fields.get(_FIELD, b""), attempts)


async def _asked(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except (RedisError, OSError, TimeoutError) as error:
        raise BusUnavailable(f"{type(error).__name__}: {error}") from error
