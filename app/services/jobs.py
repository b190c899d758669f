"""What its creator and admins may know of a job."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.errors import JobNotFinished, NotFound
from app.core.jobs import JobStatus
from app.crud.jobs import jobs
from app.crud.schedules import schedules
from app.integrations.storage import ObjectMissing, Storage
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
    values = dict(row._mapping)
    if isinstance(row.result, dict) and "file" in row.result:
        # Where a file is stored is nobody's business: `/result` gives it.
        values["result"] = row.result | {"file": {name: row.result["file"][name] for name in _SHOWN_OF_FILE}}
    progress = Progress(done=row.progress_done, total=row.progress_total, note=row.progress_note)
    return JobRead.model_validate(values | {"progress": progress})


@dataclass(frozen=True, slots=True)
class JobService:
    storage: Storage
    link_seconds: int

    async def get(self, read: ReadSession, *, principal: Principal, job_id: int) -> JobRead:
        return job_read(await self._visible(read, principal, job_id))

    async def accepted(self, session: WriteSession, *, job_id: int) -> JobRead:
        """The job as this transaction has just made it, for the 202 that answers its request."""
        return job_read(await jobs.written(session, job_id))

    async def result_file(self, read: ReadSession, *, principal: Principal, job_id: int) -> JobFile:
        """The file that the job made. JobNotFinished until it has succeeded, NotFound when it made none."""
        job = await self._visible(read, principal, job_id)
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

    async def _visible(self, read: ReadSession, principal: Principal, job_id: int) -> AnyRow:
        own = () if principal.is_admin else jobs.created_by(principal.id)
        job = await jobs.get(read, job_id, where=own)
        if job is None:
            raise NotFound
        return job
