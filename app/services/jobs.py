"""What its creator and admins may know of a job."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.exc import IntegrityError

from app.core.audit import audit
from app.core.database import AnyRow, ReadSession, WriteSession, constraint_of
from app.core.errors import Conflict, InvalidTransition, JobNotFinished, NotFound
from app.core.etag import check_if_match, shown_tag
from app.core.job_changes import announce_cancellation
from app.core.jobs import LIVE, JobStatus, staff_names
from app.core.listing import Page, PageQuery
from app.core.wakeup import wake_relay
from app.crud import job_control
from app.crud.jobs import jobs
from app.crud.schedules import schedules
from app.integrations.storage import ObjectMissing, Storage
from app.models.job import UNIQUE_KEY
from app.schemas.jobs import JobRead, Progress
from app.services.principal import Principal


@dataclass(frozen=True, slots=True)
class JobFile:
    name: str
    media_type: str
    size: int
    chunks: AsyncIterator[bytes]
    link: str | None
    """Where the store itself gives it, for a while; None: stream `chunks`."""


_SHOWN_OF_FILE = ("name", "media_type", "size")


def job_read(row: AnyRow) -> JobRead:
    return shown(dict(row._mapping))


def shown(values: Mapping[str, Any]) -> JobRead:
    """The job with these columns, as clients see it."""
    result = values["result"]
    if isinstance(result, dict) and "file" in result:
        # Where a file is stored is nobody's business: `/result` gives it.
        result = result | {"file": {name: result["file"][name] for name in _SHOWN_OF_FILE}}
    progress = Progress(done=values["progress_done"], total=values["progress_total"], note=values["progress_note"])
    return JobRead.model_validate({**values, "result": result, "progress": progress})


@dataclass(frozen=True, slots=True)
class JobService:
    storage: Storage
    link_seconds: int

    async def get(self, read: ReadSession, *, principal: Principal, job_id: int) -> JobRead:
        return job_read(await self.visible(read, principal=principal, job_id=job_id))

    async def page(self, read: ReadSession, *, query: PageQuery) -> Page:
        found = await jobs.page(read, query)
        return Page([job_read(row) for row in found.rows], found.last, found.total)

    async def cancel(self, session: WriteSession, *, job_id: int, if_match: str | None) -> JobRead:
        """End a job that is queued or running. One that runs is stopped; its outcome is dropped whatever it does."""
        job = await self._locked(session, job_id, if_match)
        if job.status not in LIVE:
            raise InvalidTransition(f"The job is {job.status.value} already.")
        session.after_commit(partial(announce_cancellation, job_id))
        await audit(session, action="job.cancelled", object_type="job", object_id=job_id, changes={"name": job.name})
        return job_read(await job_control.cancel(session, job_id))

    async def retry(self, session: WriteSession, *, job_id: int, if_match: str | None) -> JobRead:
        """Queue a job again that has failed or was cancelled. Conflict when another one of its unique key is live."""
        job = await self._locked(session, job_id, if_match)
        if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise InvalidTransition(f"The job is {job.status.value}.")
        try:
            revived = await job_control.revive(session, job_id)
        except IntegrityError as error:
            if constraint_of(error) == UNIQUE_KEY:
                raise Conflict("Another job that does the same is queued or running.") from None
            raise
        session.after_commit(wake_relay)
        await audit(session, action="job.retried", object_type="job", object_id=job_id, changes={"name": job.name})
        return job_read(revived)

    async def accepted(self, session: WriteSession, *, job_id: int) -> JobRead:
        """The job as this transaction has just made it, for the 202 that answers its request."""
        return job_read(await jobs.written(session, job_id))

    async def result_file(self, read: ReadSession, *, principal: Principal, job_id: int) -> JobFile:
        """The file that the job made. JobNotFinished until it has succeeded, NotFound when it made none."""
        job = await self.visible(read, principal=principal, job_id=job_id)
        if job.status is not JobStatus.SUCCEEDED:
            raise JobNotFinished(f"The job is {job.status.value}.")
        file = job.result.get("file") if isinstance(job.result, dict) else None
        if file is None:
            raise NotFound("This job makes no file.")
        try:
            size = await self.storage.size(file["key"])
        except ObjectMissing:
            raise NotFound("The file is no longer kept.") from None
        name, media_type = file["name"], file["media_type"]
        link = await self.storage.link(file["key"], seconds=self.link_seconds, name=name, media_type=media_type)
        return JobFile(name, media_type, size, self.storage.open(file["key"]), link)

    async def schedules(self, read: ReadSession) -> Sequence[AnyRow]:
        """What runs by the clock, by name."""
        return await schedules.known(read)

    @staticmethod
    async def _locked(session: WriteSession, job_id: int, if_match: str | None) -> AnyRow:
        job = await job_control.lock(session, job_id)
        if job is None:
            raise NotFound
        check_if_match(if_match, shown_tag(job_read(job)))
        return job

    async def visible(self, read: ReadSession, *, principal: Principal, job_id: int) -> AnyRow:
        """The job's row. NotFound unless the principal is an admin, or caused it and it is not for staff."""
        own = () if principal.is_admin else jobs.created_by(principal.id, but=staff_names())
        job = await jobs.get(read, job_id, where=own)
        if job is None:
            raise NotFound
        return job
