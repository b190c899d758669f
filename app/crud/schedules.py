"""When each schedule fires next. The database's clock decides, so that no worker's own plays a part."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, ReadSession, WriteSession
from app.crud.base import CRUDBase
from app.models import ScheduleState


class ScheduleCRUD(CRUDBase[ScheduleState]):
    async def now(self, read: ReadSession) -> datetime:
        moment: datetime = await read.scalar(select(func.now()))
        return moment

    async def known(self, read: ReadSession) -> Sequence[AnyRow]:
        return await read.all(self.select().order_by(self.columns.name))

    async def states(self, read: ReadSession, names: Sequence[str]) -> Sequence[AnyRow]:
        """The rows of these schedules, each with the database's `now`."""
        return await read.all(self.select(self.columns.name.in_(names)).add_columns(func.now().label("now")))

    async def plan(self, session: WriteSession, *, name: str, cron: str, timezone: str, next_run_at: datetime) -> None:
        """Note a schedule that is new, or that says something else than before; others keep their next run."""
        statement = insert(ScheduleState).values(name=name, cron=cron, timezone=timezone, next_run_at=next_run_at)
        new = statement.excluded
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=["name"],
                set_={"cron": new.cron, "timezone": new.timezone, "next_run_at": new.next_run_at},
                where=or_(ScheduleState.cron != new.cron, ScheduleState.timezone != new.timezone),
            )
        )

    async def move(self, session: WriteSession, *, name: str, seen: datetime, next_run_at: datetime) -> bool:
        """Push the next run from `seen` to `next_run_at`; False when somebody else has."""
        statement = (
            update(ScheduleState)
            .where(
                ScheduleState.name == name,
                ScheduleState.next_run_at == seen,
                ScheduleState.next_run_at <= func.now(),
            )
            .values(next_run_at=next_run_at)
        )
        return (await session.execute(statement.returning(ScheduleState.name))).first() is not None

    async def forget(self, session: WriteSession, *, known: Sequence[str]) -> None:
        """Delete the rows of schedules that are not `known` and that nobody has fired for a day."""
        statement = delete(ScheduleState).where(
            ScheduleState.name.not_in(known), ScheduleState.next_run_at < func.now() - timedelta(days=1)
        )
        await session.execute(statement)

    async def note_run(self, session: WriteSession, *, name: str, job_id: int) -> None:
        """The schedule has fired now, and `job_id` is what came of it."""
        statement = update(ScheduleState).where(ScheduleState.name == name)
        await session.execute(statement.values(last_run_at=func.now(), last_job_id=job_id))


schedules = ScheduleCRUD(ScheduleState)
