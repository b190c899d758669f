"""Fires what is due by the clock, once for all workers.

A schedule has one row. Whoever moves its next run, by compare-and-set, enqueues the job in the same transaction: a
rival finds the row moved, a crash leaves it unmoved.
"""

from collections.abc import Sequence
from datetime import datetime

from app.core.database import AnyRow, Database
from app.core.jobs import enqueue
from app.core.logging import get_logger
from app.core.schedules import Schedule
from app.crud.schedules import schedules as states

log = get_logger(__name__)
SHORTEST_WAIT, LONGEST_WAIT = 0.05, 60.0


class Scheduler:
    def __init__(self, database: Database, schedules: Sequence[Schedule]) -> None:
        self._database = database
        self._schedules = {schedule.name: schedule for schedule in schedules}
        self._planned = False

    async def fire(self) -> float:
        """Enqueue what is due; gives the seconds until something is again."""
        if not self._planned:
            await self.plan()
        waits = [LONGEST_WAIT]
        for state in await states.states(self._database.read, list(self._schedules)):
            next_run_at = state.next_run_at
            if next_run_at <= state.now:
                next_run_at = await self._fire(self._schedules[state.name], state)
            waits.append((next_run_at - state.now).total_seconds())
        return max(SHORTEST_WAIT, min(waits))

    async def plan(self) -> None:
        """Note the next run of every schedule that is new or has changed."""
        now = await states.now(self._database.read)
        async with self._database.session_scope() as session:
            for name, one in sorted(self._schedules.items()):
                await states.plan(session, name=name, cron=one.cron, timezone=one.zone, next_run_at=one.after(now))
            await states.forget(session, known=list(self._schedules))
        self._planned = True

    async def _fire(self, schedule: Schedule, state: AnyRow) -> datetime:
        due = schedule.due(next_run_at=state.next_run_at, now=state.now)
        next_run_at = schedule.after(state.now)
        async with self._database.session_scope() as session:
            if not await states.move(session, name=schedule.name, seen=state.next_run_at, next_run_at=next_run_at):
                return next_run_at
            for time in due:
                job_id = await enqueue(session, schedule.make(time))
                await states.note_run(session, name=schedule.name, job_id=job_id)
        log.info("schedule", schedule=schedule.name, fired=len(due), due_at=state.next_run_at.isoformat())
        return next_run_at
