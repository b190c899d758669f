"""Several jobs in one message to Celery: who travels together, and what becomes of those whose turn does not come."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from app.config import JobSettings
from app.core.database import AnyRow
from app.core.jobs import JobMessage, JobStatus, Queue, enqueue_many
from app.services.container import Container
from app.tasks import attempt as attempts
from app.tasks.attempt import Attempt, Runner
from app.tasks.broker import CELERY_LIST, TOGETHER, celery_messages
from app.tasks.celery_sender import CelerySender
from tests.support import World


class Small(JobMessage):
    name: ClassVar[str] = "test.small"
    queue: ClassVar[Queue] = Queue.CPU


def rows(number: int, *, first: int = 1, **values: Any) -> list[AnyRow]:
    made = {"name": Small.name, "priority": 0, "publications": 1} | values
    return [cast("AnyRow", SimpleNamespace(id=first + one, **made)) for one in range(number)]


def together(*some: AnyRow, small: tuple[str, ...] = (Small.name,)) -> list[list[int]]:
    return [ids for ids, _ in celery_messages(some, small=small)]


async def send(world: World, number: int) -> list[int]:
    async with world.database.session_scope() as session:
        return await enqueue_many(session, [Small()] * number)


def runner(world: World, body: Callable[[Any, Attempt], Awaitable[Any]]) -> Runner:
    return Runner(world.database, {Small: body}, JobSettings(), at_once=1)


def test_a_crowd_travels_in_few_messages_and_a_few_jobs_alone() -> None:
    """The larger the crowd the more in one message, never more than eight, and below sixteen each has its own."""
    assert together(*rows(15)) == [[one] for one in range(1, 16)]
    assert [len(ids) for ids in together(*rows(40))] == [5] * 8
    many = together(*rows(200))
    assert max(map(len, many)) == TOGETHER == 8
    assert list(chain(*many)) == list(range(1, 201))


def test_who_may_harm_others_travels_alone() -> None:
    """Whatever is published again, and names of which an attempt must not be lost: alone, though others are a crowd."""
    again, precious = rows(2, first=301, publications=2), rows(2, first=401, name="test.precious")
    sent = together(*rows(100), *again, *precious)
    assert [[one.id] for one in (*again, *precious)] == [ids for ids in sent if ids[0] > 300]
    assert sorted(chain(*sent)) == sorted(one.id for one in (*rows(100), *again, *precious))


def test_each_priority_has_messages_of_its_own_and_the_highest_goes_first() -> None:
    """Nothing urgent waits in a message behind what is not."""
    sent = list(celery_messages([*rows(64, priority=0), *rows(64, first=101, priority=10)], small={Small.name}))
    assert [priority for _, priority in sent] == [10] * 8 + [0] * 8
    assert all((min(ids) > 100) is (priority == 10) for ids, priority in sent)


async def test_bodies_have_turns_and_completions_do_not_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of jobs that are claimed together one body runs at a time, each once, and all succeed."""
    monkeypatch.setattr(attempts, "TURN_SECONDS", 10)
    running, most = 0, 0

    async def body(_: Small, __: Attempt) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    ids = await send(world, 8)
    run = runner(world, body).run
    assert await asyncio.gather(*map(run, ids)) == [JobStatus.SUCCEEDED] * 8
    assert most == 1


async def test_who_gets_no_turn_goes_back_untouched(world: World) -> None:
    """Behind a long body the others are queued again at once: no attempt counted, due as before, to be published."""
    ids = await send(world, 3)
    before = {row.id: row.run_at for row in await world.rows("SELECT id, run_at FROM jobs")}
    finish, begun = asyncio.Event(), []

    async def body(_: Small, attempt: Attempt) -> None:
        begun.append(attempt.job_id)
        await finish.wait()

    running = [asyncio.create_task(runs) for runs in map(runner(world, body).run, ids)]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*running[1:])
    left = await world.rows("SELECT * FROM jobs WHERE status = 'queued' ORDER BY id")
    assert [row.id for row in left] == ids[1:]
    assert {(row.attempt, row.published_at, row.lease_token) for row in left} == {(0, None, None)}
    assert all(row.run_at == before[row.id] for row in left)
    finish.set()
    assert await running[0] is JobStatus.SUCCEEDED
    assert begun == ids[:1]


async def test_a_body_that_fails_ends_its_turn(world: World) -> None:
    """Whatever becomes of one, by an error or by a message that makes no sense, the next one begins."""
    ids = await send(world, 3)
    await world.execute("""UPDATE jobs SET payload = '"nonsense"' WHERE id = :id""", id=ids[0])

    async def body(_: Small, attempt: Attempt) -> None:
        if attempt.job_id == ids[1]:
            raise ValueError("no")

    outcomes = await asyncio.gather(*map(runner(world, body).run, ids))
    assert outcomes[1:] == [JobStatus.QUEUED, JobStatus.SUCCEEDED]


@pytest.mark.parametrize("pause", [0, 0.09, 0.1, 0.11, 0.12])
async def test_what_is_interrupted_goes_back_with_what_waits_behind_it(world: World, pause: float) -> None:
    """A worker that is told to end, also while it gives jobs back, gives back all that it has; no attempt counts."""
    ids = await send(world, 3)
    begun = asyncio.Event()

    async def body(_: Small, __: Attempt) -> None:
        begun.set()
        await asyncio.Event().wait()

    together = asyncio.gather(*map(runner(world, body).run, ids), return_exceptions=True)
    await begun.wait()
    await asyncio.sleep(pause)
    together.cancel()
    with pytest.raises(asyncio.CancelledError):
        await together
    left = await world.rows("SELECT status, attempt FROM jobs ORDER BY id")
    assert [(row.status, row.attempt) for row in left] == [("queued", 0)] * 3


async def test_a_connection_that_was_cut_is_made_again(container: Container, celery: Celery) -> None:
    """The connection to Celery's broker is kept between sendings; cut by Redis, the next sending makes another."""

    async def connections() -> int:
        return int((await container.redis.info("stats"))["total_connections_received"])

    sender = CelerySender(celery, small=(), patience=1)
    await asyncio.to_thread(sender.send, rows(1))
    before = await connections()
    for one in range(5):
        await asyncio.to_thread(sender.send, rows(1, first=2 + one))
    assert await connections() == before
    await container.redis.client_kill_filter(skipme=True)
    await asyncio.to_thread(sender.send, rows(2, first=100))
    assert await cast("Awaitable[int]", container.redis.llen(CELERY_LIST)) == 8
    await asyncio.to_thread(sender.close)


async def test_a_connection_over_which_something_was_refused_is_not_kept(container: Container, celery: Celery) -> None:
    """The refusal is raised, and the next sending goes over another connection: to whoever is the broker by then."""
    sender = CelerySender(celery, small=(), patience=1)
    await container.redis.set(CELERY_LIST, "no list")
    with pytest.raises(OperationalError):
        await asyncio.to_thread(sender.send, rows(1))
    await container.redis.delete(CELERY_LIST)
    before = int((await container.redis.info("stats"))["total_connections_received"])
    await asyncio.to_thread(sender.send, rows(1))
    assert int((await container.redis.info("stats"))["total_connections_received"]) > before
    assert await cast("Awaitable[int]", container.redis.llen(CELERY_LIST)) == 1
    await asyncio.to_thread(sender.close)
