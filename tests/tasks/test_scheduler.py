"""Firing by the clock, exactly once across any number of workers."""

import asyncio
from datetime import datetime, timedelta
from typing import ClassVar

import pytest

from app.core.jobs import JobMessage
from app.core.schedules import Misfire, Schedule
from app.crud.schedules import schedules as states
from app.schemas.messages.housekeeping import Prune, SendDueReminders
from app.schemas.messages.reports import DrawUtilisationReport
from app.services.container import Container
from app.tasks.relay import Relay
from app.tasks.scheduler import Scheduler
from app.tasks.schedules import schedules
from tests.support import World, eventually


class Tick(JobMessage):
    name: ClassVar[str] = "test.tick"
    at: datetime


def hourly(misfire: Misfire = Misfire.ONCE, cron: str = "0 * * * *") -> Schedule:
    return Schedule("tick", cron, lambda time: Tick(at=time), misfire=misfire)


async def planned(world: World, schedule: Schedule) -> Scheduler:
    scheduler = Scheduler(world.database, [schedule])
    await scheduler.plan()
    return scheduler


async def make_due(world: World, hours: int = 0) -> None:
    """Let the next run be the last full hour, or one earlier."""
    await world.execute(
        "UPDATE schedules SET next_run_at = date_trunc('hour', now()) - make_interval(hours => :hours)", hours=hours
    )


async def ticks(world: World) -> list[datetime]:
    return [message.at for message in await world.enqueued(Tick)]


async def test_one_firing_makes_one_job_however_many_workers_look(world: World) -> None:
    """Eight workers see the same schedule fall due: one job, and the next run moved on."""
    rivals = [await planned(world, hourly()) for _ in range(8)]
    await make_due(world)
    await asyncio.gather(*(one.fire() for one in rivals), *(one.fire() for one in rivals))
    (at,) = await ticks(world)
    state = (await world.rows("SELECT *, now() AS now FROM schedules"))[0]
    assert at == state.next_run_at - timedelta(hours=1)
    assert state.next_run_at > state.now
    assert (state.last_run_at is not None, state.last_job_id) == (True, await world.scalar("SELECT id FROM jobs"))


async def test_a_worker_that_believes_in_another_time_fires_nothing(world: World) -> None:
    """Only the database's clock counts: before it says so, nothing fires, and the wait is told by it."""
    scheduler = await planned(world, hourly())
    assert 0 < await scheduler.fire() <= 60
    await world.execute("UPDATE schedules SET next_run_at = now() + interval '20 seconds'")
    assert 15 < await scheduler.fire() <= 20
    assert await ticks(world) == []


async def test_the_next_run_is_not_moved_before_the_database_says_that_it_is_due(world: World) -> None:
    """Whoever read the time from elsewhere, a replica whose clock is ahead, is refused by the step itself."""
    await planned(world, hourly())
    (planned_at,) = [row.next_run_at for row in await world.rows("SELECT next_run_at FROM schedules")]
    async with world.database.session_scope() as session:
        later = planned_at + timedelta(hours=1)
        assert not await states.move(session, name="tick", seen=planned_at, next_run_at=later)


async def test_a_firing_whose_job_is_not_accepted_is_made_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move and the job are one transaction: when the second fails, the first has not happened."""
    scheduler = await planned(world, hourly())
    await make_due(world)
    before = await world.rows("SELECT * FROM schedules")

    async def refuse(*_: object) -> int:
        raise ConnectionError("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr("app.tasks.scheduler.enqueue", refuse)
        with pytest.raises(ConnectionError):
            await scheduler.fire()
    assert await world.rows("SELECT * FROM schedules") == before
    await scheduler.fire()
    assert len(await ticks(world)) == 1


@pytest.mark.parametrize(("misfire", "made"), [(Misfire.ONCE, 1), (Misfire.ALL, 4)])
async def test_missed_firings_are_caught_up_by_policy(world: World, misfire: Misfire, made: int) -> None:
    """After three hours without a worker, one job or one for each, the last for the last full hour; then no more."""
    scheduler = await planned(world, hourly(misfire))
    await make_due(world, hours=3)
    await scheduler.fire()
    await scheduler.fire()
    found = await ticks(world)
    assert len(found) == made
    assert found[-1] == (await world.scalar("SELECT next_run_at FROM schedules")) - timedelta(hours=1)


async def test_a_changed_schedule_is_planned_anew_and_others_are_not(world: World) -> None:
    """A worker that starts keeps the next run of a schedule it knows, and computes that of one that has changed."""
    await planned(world, hourly())
    await make_due(world, hours=1)
    before = await world.rows("SELECT * FROM schedules")
    await planned(world, hourly())
    assert await world.rows("SELECT * FROM schedules") == before
    await planned(world, hourly(cron="30 * * * *"))
    (after,) = await world.rows("SELECT *, now() AS now FROM schedules")
    assert after.next_run_at > after.now
    assert after.next_run_at.minute == 30


async def test_a_schedule_that_nobody_knows_is_forgotten_in_time(world: World) -> None:
    """The row of a removed schedule stays while an older worker may still fire it, and goes a day later."""
    await planned(world, hourly())
    other = Schedule("other", "* * * * *", lambda time: Tick(at=time))
    await planned(world, other)
    assert await world.count("schedules") == 2
    await world.execute("UPDATE schedules SET next_run_at = now() - interval '25 hours' WHERE name = 'tick'")
    await planned(world, other)
    assert [row.name for row in await world.rows("SELECT name FROM schedules")] == ["other"]


async def test_every_schedule_of_the_service_makes_a_job_that_it_can_do(world: World, container: Container) -> None:
    """All fire, each job succeeds, and a second firing while the first still waits adds none of the sweeping kinds."""
    scheduler = Scheduler(world.database, schedules(container.settings))
    await scheduler.plan()
    for _ in range(2):
        await world.execute("UPDATE schedules SET next_run_at = now() - interval '1 s'")
        await scheduler.fire()
    assert len(await world.enqueued(SendDueReminders)) == 1
    assert len(await world.enqueued(DrawUtilisationReport)) == 2
    prunes = await world.enqueued(Prune)
    assert len(prunes) == len({prune.subject for prune in prunes})
    await world.run_jobs()
    assert dict(tuple(row) for row in await world.rows("SELECT status, count(*) FROM jobs GROUP BY 1")).keys() == {
        "succeeded"
    }


async def test_the_relay_fires(world: World, relay: Relay) -> None:
    """A running relay plans its schedules, and fires one that falls due."""
    running = asyncio.create_task(relay.run())

    async def is_planned() -> bool:
        return bool(await world.count("schedules"))

    await eventually(is_planned)
    relay.stop()
    await running
    await world.execute("UPDATE schedules SET next_run_at = now() WHERE name = 'reminders'")
    await relay._scheduler.fire()
    assert len(await world.enqueued(SendDueReminders)) == 1
