"""One client's view of one job, as it changes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from app.config import StreamSettings
from app.core.database import AnyRow, ReadSession, is_unavailable
from app.core.errors import DomainError
from app.core.jobs import LIVE, JobStatus
from app.crud.jobs import jobs
from app.schemas.jobs import JobRead
from app.services.job_events import Onlooker
from app.services.jobs import shown

Kind = Literal["status", "progress", "end"]


@dataclass(frozen=True, slots=True)
class JobEvent:
    """`end` is the last one, with the job's result. `id` is what a client says it has seen when it comes again."""

    kind: Kind
    id: int
    job: JobRead


@dataclass(frozen=True, slots=True)
class JobStream:
    row: AnyRow
    onlooker: Onlooker
    settings: StreamSettings

    def is_over(self, seen: int | None) -> bool:
        """Whether the job has ended and the client knows it."""
        return self.row.status not in LIVE and self.row.version == seen

    async def events(
        self, read: ReadSession, *, seen: int | None, check: Callable[[], Awaitable[object]]
    ) -> AsyncIterator[JobEvent | None]:
        """What has changed since `seen`, then each change; None is a sign of life.

        Ends with the job, with the stream's lifetime, with the server, or when `check` raises a DomainError.
        """
        now = asyncio.get_running_loop().time
        until, check_at = now() + self.settings.lifetime, now() + self.settings.heartbeat
        values, job = dict(self.row._mapping), shown(dict(self.row._mapping))
        if self.row.version != seen:
            yield JobEvent("status" if job.status in LIVE else "end", self.row.version, job)
        while job.status in LIVE and now() < until and not self.onlooker.closed:
            state = await self.onlooker.next(within=max(0.0, min(check_at, until) - now()))
            try:
                if now() >= check_at:
                    await check()
                    check_at = now() + self.settings.heartbeat
                    yield None
                if state is None:
                    continue
                values |= state
                if JobStatus(state["status"]) not in LIVE:
                    # The result is not announced, because it may be large.
                    row = await jobs.get(read, job.id)
                    values = values if row is None else dict(row._mapping)
            except DomainError:
                return
            except Exception as error:
                if not is_unavailable(error):
                    raise
                return
            before, job = job, shown(values)
            moved = (before.status, before.attempt) != (job.status, job.attempt)
            kind: Kind = "end" if job.status not in LIVE else "status" if moved else "progress"
            yield JobEvent(kind, values["version"], job)
