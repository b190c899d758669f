"""Events between services: over a real Valkey, and over SQS's protocol on a real socket."""

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from app.config import EventsSettings
from app.core.enums import Role
from app.core.events import record
from app.integrations.aws import AwsClient
from app.integrations.event_bus import BusUnavailable, EventBus, OuterEvent
from app.integrations.event_bus_redis import RedisStreams
from app.integrations.event_bus_sqs import Sqs
from app.schemas.events import UserRegistered
from app.schemas.messages.outer_events import PublishEvent
from app.services.container import Container, build
from app.services.outer_events import OuterEventService
from app.tasks.event_consumer import EventConsumer
from tests.integrations.moto import KEY, SECRET, moto_server
from tests.support import World, eventually

RULES = EventsSettings(enabled=True, inbox="t.events", outbox="t.events", dead="t.dead", attempts=2, claim_after=0.05)
HAPPENED = UserRegistered(id=7, email="a@example.com", full_name="A", role=Role.CLIENT)


def event(number: int = 1, **values: Any) -> OuterEvent:
    given = {"id": f"e-{number}", "type": "lab.ready", "source": "lab", "occurred_at": datetime.now(UTC), "data": {}}
    return OuterEvent.model_validate(given | values)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as url:
        yield url


async def queues(endpoint: str) -> tuple[EventsSettings, AwsClient]:
    client = AwsClient("sqs", endpoint=endpoint, region="eu-central-1", access_key=KEY, secret_key=SECRET)
    sqs = await client.get()
    urls = {}
    for name in ("inbox", "dead"):
        made = await sqs.create_queue(QueueName=f"{name}-{os.urandom(4).hex()}", Attributes={"VisibilityTimeout": "1"})
        urls[name] = made["QueueUrl"]
    given = {"enabled": True, "backend": "sqs", "outbox": urls["inbox"], **urls, "endpoint": endpoint, "attempts": 2}
    return EventsSettings.model_validate({**given, "access_key": KEY, "secret_key": SECRET}), client


@dataclasses.dataclass
class Peer:
    """A bus, and what its operator sees."""

    bus: EventBus
    settings: EventsSettings
    redis: Redis
    sqs: AwsClient | None

    async def put(self, body: str) -> None:
        """Something that somebody has sent."""
        if self.sqs is None:
            await self.redis.xadd(self.settings.inbox, {"event": body})
        else:
            await (await self.sqs.get()).send_message(QueueUrl=self.settings.inbox, MessageBody=body)

    async def dead(self) -> int:
        if self.sqs is None:
            return int(await self.redis.xlen(self.settings.dead))
        names = ["ApproximateNumberOfMessages"]
        found = await (await self.sqs.get()).get_queue_attributes(QueueUrl=self.settings.dead, AttributeNames=names)
        return int(found["Attributes"][names[0]])


@pytest.fixture(params=["redis", "sqs"])
async def peer(request: pytest.FixtureRequest, container: Container, endpoint: str) -> AsyncIterator[Peer]:
    if request.param == "redis":
        bus = RedisStreams(container.redis, RULES, consumer="one", wait=0.05)
        yield Peer(bus, RULES, container.redis, None)
        return
    settings, client = await queues(endpoint)
    sqs = Sqs(settings, wait=0)
    yield Peer(sqs, settings, container.redis, client)
    await sqs.close()
    await client.close()


@pytest.fixture
def consumer(peer: Peer, container: Container) -> OuterEventService:
    return OuterEventService(container.database, peer.bus, peer.settings.attempts)


async def test_an_event_is_kept_once_however_often_it_comes(
    peer: Peer, consumer: OuterEventService, world: World
) -> None:
    """The same event three times, another source's under its id, and a second one: three rows."""
    for one in (event(1), event(1), event(1), event(1, source="shop"), event(2)):
        await peer.bus.publish(one)

    async def nothing_left() -> bool:
        return await consumer.receive() == 0

    await eventually(nothing_left)
    rows = await world.rows("SELECT source, event_id FROM received_events ORDER BY source, event_id")
    assert [tuple(row) for row in rows] == [("lab", "e-1"), ("lab", "e-2"), ("shop", "e-1")]
    await asyncio.sleep(1.2 if peer.sqs else 0.1)
    assert await peer.bus.receive() == []


async def test_what_was_not_acknowledged_comes_again(peer: Peer, consumer: OuterEventService, world: World) -> None:
    """A process that dies after the message was given to it loses nothing: the next one stores it."""
    await peer.bus.publish(event())
    (lost,) = await peer.bus.receive()
    assert lost.attempts == 1

    async def taken() -> bool:
        return await consumer.receive() == 1

    await eventually(taken)
    assert await world.count("received_events") == 1


@pytest.mark.parametrize("body", ["garbage", "{}", "[]", '{"id": ""}'])
async def test_what_is_no_event_is_set_aside_at_once(
    peer: Peer, consumer: OuterEventService, world: World, body: str
) -> None:
    """Garbage goes to the dead letters at its first delivery, and the event behind it is taken."""
    await peer.put(body)
    await peer.bus.publish(event())

    async def taken() -> bool:
        await consumer.receive()
        return await world.count("received_events") == 1

    await eventually(taken)
    assert await peer.dead() == 1


async def test_poison_is_set_aside_after_its_attempts(peer: Peer, consumer: OuterEventService, world: World) -> None:
    """An event that the database refuses is tried again, then buried; the one behind it does not wait for that."""
    await peer.put(event(1).model_dump_json().replace('"data":{}', '"data":{"a":"\\u0000"}'))
    await peer.bus.publish(event(2))

    async def buried() -> bool:
        await consumer.receive()
        return await peer.dead() == 1

    await eventually(buried)
    rows = await world.rows("SELECT event_id FROM received_events")
    assert [row.event_id for row in rows] == ["e-2"]


async def test_a_bus_that_is_away_is_unavailable(container: Container, endpoint: str) -> None:
    """Nobody there, for either backend: BusUnavailable, and the consumer goes on when it is back."""
    nowhere = Redis(port=9, socket_connect_timeout=0.2)
    given = {"enabled": True, "backend": "sqs", "endpoint": "http://127.0.0.1:9", "inbox": "http://127.0.0.1:9/1/x"}
    settings = EventsSettings.model_validate(given | {"access_key": KEY, "secret_key": SECRET, "outbox": "http://q/1"})
    for bus in (RedisStreams(nowhere, RULES, consumer="one"), Sqs(settings, wait=0)):
        with pytest.raises(BusUnavailable):
            await bus.publish(event())
        with pytest.raises(BusUnavailable):
            await bus.receive()
        await bus.close()
    await nowhere.aclose()


async def test_an_emptied_redis_is_started_anew(container: Container, world: World) -> None:
    """After FLUSHALL the group is made again, and what is published then is taken."""
    bus = RedisStreams(container.redis, RULES, consumer="one", wait=0.05)
    consumer = OuterEventService(container.database, bus, RULES.attempts)
    assert await consumer.receive() == 0
    await container.redis.flushdb()
    await bus.publish(event())
    assert await consumer.receive() == 1
    assert await world.count("received_events") == 1


async def test_a_domain_event_goes_out_once_committed(container: Container, world: World) -> None:
    """Switched on, an event recorded in a transaction becomes a job, and the job a message under its key."""
    settings = container.settings.model_copy(update={"events": RULES})
    loud = build(settings, role="worker")
    try:
        async with loud.database.session_scope() as session:
            record(session, HAPPENED)
        (message,) = await world.enqueued(PublishEvent)
        assert (message.type, message.data["id"]) == ("user.registered", 7)
        for _ in range(2):
            await loud.outer_events.publish(message, job_key="job-1.1")
        sent = await container.redis.xrange(RULES.outbox)
        events = [OuterEvent.model_validate_json(fields[b"event"]) for _, fields in sent]
        assert [(one.id, one.type, one.source) for one in events] == [("job-1.1", "user.registered", "frontdesk")] * 2
    finally:
        await loud.close()


async def test_without_events_nothing_goes_out(container: Container, world: World) -> None:
    """Switched off, as by default, no job is made, the consumer rests, and a job from before ends well."""
    async with container.database.session_scope() as session:
        record(session, HAPPENED)
    assert await world.enqueued(PublishEvent) == []
    message = PublishEvent(type="x", occurred_at=datetime.now(UTC), data={})
    assert "skipped" in await container.outer_events.publish(message, job_key="k")
    resting = EventConsumer(container.outer_events)
    running = asyncio.create_task(resting.run())
    resting.stop()
    await asyncio.wait_for(running, 5)
