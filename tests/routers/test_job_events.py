"""The changes of a job, as its onlookers get them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import httpx
import pytest
from sqlalchemy import event

from app.config import JobSettings, StreamSettings
from app.core.context import Cause, bound, current_cause
from app.core.job_changes import CHANGED, RedisAnnouncer, use_announcer
from app.core.jobs import JobMessage, JobStatus, enqueue
from app.core.shutdown import begin_shutdown
from app.services.container import Container
from app.services.job_events import MOST_QUEUED, JobEvents, Onlooker
from app.tasks.attempt import Attempt, Body, Runner
from tests.support import API, Person, World, assert_problem, eventually


class Note(JobMessage):
    name: ClassVar[str] = "test.note"


async def send(world: World, creator: Person) -> int:
    with bound(Cause(user_id=creator.id)):
        async with world.database.session_scope() as session:
            return await enqueue(session, Note())


def runner(world: World, body: Body) -> Runner:
    return Runner(world.database, {Note: body}, JobSettings())


def parse(text: str) -> list[dict[str, Any]]:
    """The events of a stream; comments and the reconnection time are left out."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" in fields:
            events.append({**fields, "job": json.loads(fields["data"])})
    return events


async def follow(client: httpx.AsyncClient, person: Person, job_id: int, **headers: str) -> httpx.Response:
    """The whole stream, once it has ended."""
    return await client.get(f"{API}/jobs/{job_id}/events", headers=person.headers | headers)


def onlookers(container: Container, job_id: int) -> int:
    return len(container.job_events._onlookers.get(job_id, ()))


async def looked_on(container: Container, job_id: int, number: int = 1) -> None:
    async def check() -> bool:
        return onlookers(container, job_id) == number

    await eventually(check)


@pytest.fixture(autouse=True)
async def announced(container: Container) -> AsyncIterator[None]:
    """Changes are announced over Redis, as in the processes of the service, and looks are far apart."""
    use_announcer(RedisAnnouncer(container.redis))
    events = container.job_events
    before, events.settings = events.settings, StreamSettings(look=3600)
    yield
    events.settings = before
    use_announcer(None)


async def settled(container: Container, job_id: int) -> None:
    """The process hears what is announced from now on."""

    async def check() -> bool:
        ((_, listeners),) = await container.redis.pubsub_numsub(f"{CHANGED}{job_id}")
        return bool(listeners)

    await eventually(check)


async def test_each_change_arrives_and_then_the_end(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """Queued, running, each report and the result come in order with rising ids; the last is the end of the stream."""
    person = await world.person()
    job_id = await send(world, person)

    async def body(_: Any, attempt: Attempt) -> Any:
        await attempt.progress(1, 2, "half")
        await asyncio.sleep(0.6)
        await attempt.progress(2, 2, "all")
        return {"made": 2}

    stream = asyncio.create_task(follow(client, person, job_id))
    await looked_on(container, job_id)
    await settled(container, job_id)
    assert await runner(world, body).run(job_id) is JobStatus.SUCCEEDED
    answer = await stream
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    events = parse(answer.text)
    told = [(one["event"], one["job"]["status"], one["job"]["progress"]["done"]) for one in events]
    assert told == [
        ("status", "queued", 0),
        ("status", "running", 0),
        ("progress", "running", 1),
        ("progress", "running", 2),
        ("end", "succeeded", 2),
    ]
    ids = [int(one["id"]) for one in events]
    assert ids == sorted(set(ids))
    assert events[-1]["job"] == (await client.get(f"{API}/jobs/{job_id}", headers=person.headers)).json()
    assert onlookers(container, job_id) == 0
    # A block without data is an event without data to some clients.
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    assert all(block.startswith("event: ") and "\ndata: {" in block for block in blocks)
    assert ["\nretry: 2000" in f"\n{block}" for block in blocks] == [True, False, False, False, False]


async def test_a_client_that_comes_again_is_told_what_it_has_missed(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """With the id of an old event it gets the present state; with the present one nothing; after the end, no stream."""
    person = await world.person()
    job_id = await send(world, person)

    async def body(_: Any, __: Attempt) -> None:
        return None

    stream = asyncio.create_task(follow(client, person, job_id, **{"Last-Event-ID": "1"}))
    await looked_on(container, job_id)
    await settled(container, job_id)
    await runner(world, body).run(job_id)
    events = parse((await stream).text)
    assert [one["job"]["status"] for one in events] == ["running", "succeeded"]
    late = await follow(client, person, job_id, **{"Last-Event-ID": events[0]["id"]})
    assert [(one["event"], one["id"]) for one in parse(late.text)] == [("end", events[-1]["id"])]
    over = await follow(client, person, job_id, **{"Last-Event-ID": events[-1]["id"]})
    assert (over.status_code, over.content) == (204, b"")
    for unknown in ("x", "1.5", "-1", "9" * 60):
        again = await follow(client, person, job_id, **{"Last-Event-ID": unknown})
        assert [one["event"] for one in parse(again.text)] == ["end"]


async def test_changes_that_nobody_announced_are_seen_all_the_same(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """What is lost between a worker and Redis costs an onlooker one look."""
    container.job_events.settings = StreamSettings(look=0.2)
    events = JobEvents(world.database, container.redis, StreamSettings(look=0.1))
    use_announcer(None)
    person = await world.person()
    job_id = await send(world, person)
    try:
        async with events.watch(job_id, user_id=person.id) as onlooker:
            onlooker.begin(1)
            await world.execute("UPDATE jobs SET progress_done = 7, version = 2")
            state = await onlooker.next(within=10)
            assert state is not None
            assert (state["version"], state["progress_done"]) == (2, 7)
    finally:
        await events.close()


async def test_looking_is_on_nobodys_behalf(world: World, container: Container) -> None:
    """What looks for changes serves all who come later, too: it is no part of the first one's trace and lines."""
    events = JobEvents(world.database, container.redis, StreamSettings(look=0.05))
    person, causes = await world.person(), []
    job_id = await send(world, person)

    def note(*_: object) -> None:
        causes.append(current_cause())

    async def looked() -> bool:
        return len(causes) > 1

    engine = world.database.read._engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        with bound(Cause(request_id="r-1", user_id=person.id)):
            async with events.watch(job_id, user_id=person.id):
                assert await eventually(looked)
    finally:
        event.remove(engine, "before_cursor_execute", note)
        await events.close()
    assert set(causes) == {Cause()}


async def test_only_those_may_look_on_who_may_see_the_job(world: World, client: httpx.AsyncClient) -> None:
    """Its creator and admins; for others it is not there, and strangers have to sign in."""
    person = await world.person()
    job_id = await send(world, person)
    await world.execute("UPDATE jobs SET status = 'succeeded'")
    assert (await follow(client, person, job_id)).status_code == 200
    assert (await follow(client, await world.admin(), job_id)).status_code == 200
    assert_problem(await follow(client, await world.person(), job_id), 404, "not_found")
    assert_problem(await client.get(f"{API}/jobs/{job_id}/events"), 401, "invalid_token")


async def test_streams_are_bounded(world: World, client: httpx.AsyncClient, container: Container) -> None:
    """One user has so many at once and gets 429, the process so many and answers 503; a stream that ends makes room."""
    container.job_events.settings = StreamSettings(open=3, per_user=2, look=3600)
    first, second = await world.person(), await world.person()
    mine, theirs = await send(world, first), await send(world, second)
    streams = [asyncio.create_task(follow(client, first, mine)) for _ in range(2)]
    await looked_on(container, mine, 2)
    refused = await follow(client, first, mine)
    assert "open streams" in assert_problem(refused, 429, "rate_limited")["detail"]
    assert int(refused.headers["retry-after"]) > 0
    streams.append(asyncio.create_task(follow(client, second, theirs)))
    await looked_on(container, theirs)
    assert_problem(await follow(client, second, theirs), 503, "unavailable")
    begin_shutdown()
    for stream in streams:
        assert (await stream).status_code == 200
    assert container.job_events._per_user.total() == 0
    assert container.job_events._onlookers == {}


async def test_a_stream_ends_with_its_session(world: World, client: httpx.AsyncClient, container: Container) -> None:
    """Signs of life come while nothing happens; the first of them after the session's end is the end."""
    container.job_events.settings = StreamSettings(heartbeat=0.1, look=3600)
    person = await world.person()
    job_id = await send(world, person)
    stream = asyncio.create_task(follow(client, person, job_id))
    await looked_on(container, job_id)
    await asyncio.sleep(0.4)
    assert not stream.done()
    await world.execute("UPDATE auth_sessions SET revoked_at = now() WHERE id = :id", id=person.session_id)
    async with asyncio.timeout(10):
        answer = await stream
    assert answer.text.count(": ping\n") >= 1
    assert ": ping\n\n" not in answer.text
    assert [one["event"] for one in parse(answer.text)] == ["status"]


async def test_a_stream_has_an_end_of_its_own(world: World, client: httpx.AsyncClient, container: Container) -> None:
    """After its lifetime it ends without an `end`: the client resumes."""
    container.job_events.settings = StreamSettings(lifetime=0.2, look=3600)
    person = await world.person()
    job_id = await send(world, person)
    async with asyncio.timeout(10):
        answer = await follow(client, person, job_id)
    assert [one["event"] for one in parse(answer.text)] == ["status"]
    assert "retry: 2000" in answer.text


def test_a_slow_onlooker_misses_the_oldest() -> None:
    """Its queue is bounded; what it gets is newer each time, and the newest is always there."""
    onlooker = Onlooker()
    for version in [*range(1, 1000), 5, 999]:
        onlooker.tell({"version": version})
    assert [state["version"] for state in onlooker._queue] == list(range(1000 - MOST_QUEUED, 1000))
    onlooker.begin(998)
    assert [state["version"] for state in onlooker._queue] == [999]
