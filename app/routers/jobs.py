"""Work in the background, as those who caused it see it."""

from typing import Annotated, Any

from fastapi import Depends, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from app.core.etag import shown_tag
from app.core.listing import PageQuery
from app.dependencies.access import AllJobsReader, JobsReader, JobsWriter, ReportsWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import page_query
from app.dependencies.resources import CursorsDep, Jobs, Reports
from app.dependencies.session import IfMatch, IfNoneMatch, Read, Write
from app.routers.responses import PathId, accepted, conditional, file_of, paged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.jobs import JOBS, JobRead, ScheduleList
from app.schemas.reports import MEDIA_TYPES, ReportCreate

router = Router(tags=["background"])


@router.get("/jobs", response_model=PageOut[JobRead])
async def list_jobs(
    query: Annotated[PageQuery, Depends(page_query(JOBS))],
    _: AllJobsReader,
    jobs: Jobs,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Admins only."""
    return paged(await jobs.page(read, query=query), query, JOBS, cursors)


@router.get("/jobs/{job_id}", response_model=JobRead)
async def get_job(
    job_id: PathId,
    principal: JobsReader,
    jobs: Jobs,
    read: Read,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Its creator's and admins'."""
    job = await jobs.get(read, principal=principal, job_id=job_id)
    return conditional(response, job, if_none_match, tag=shown_tag(job))


@router.get(
    "/jobs/{job_id}/result",
    response_class=StreamingResponse,
    responses={
        200: file_of("The file", *(kind.partition(";")[0] for kind in MEDIA_TYPES.values())),
        307: {"description": "The file is at `Location`, for a while and for anybody who has the address"},
        409: {"description": "`job_not_finished`"},
    },
)
async def get_result(job_id: PathId, principal: JobsReader, jobs: Jobs, read: Read) -> Response:
    """The file that the job made, or a redirect to where it is kept; 409 `job_not_finished` until then."""
    file = await jobs.result_file(read, principal=principal, job_id=job_id)
    if file.link is not None:
        return RedirectResponse(file.link, headers={"Cache-Control": "no-store"})
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"', "Content-Length": str(file.size)}
    return StreamingResponse(file.chunks, media_type=file.media_type, headers=headers)


@router.post("/jobs/{job_id}/cancel", response_model=JobRead)
async def cancel_job(
    job_id: PathId, _: JobsWriter, jobs: Jobs, session: Write, response: Response, if_match: IfMatch = None
) -> Any:
    """Admins only. Ends a job that is queued or running; what runs is stopped, and has no effect any more."""
    job = await jobs.cancel(session, job_id=job_id, if_match=if_match)
    response.headers["ETag"] = shown_tag(job)
    return job


@router.post("/jobs/{job_id}/retry", response_model=JobRead)
async def retry_job(
    job_id: PathId, _: JobsWriter, jobs: Jobs, session: Write, response: Response, if_match: IfMatch = None
) -> Any:
    """Admins only. Queues a job that has failed or was cancelled, with all its attempts before it."""
    job = await jobs.retry(session, job_id=job_id, if_match=if_match)
    response.headers["ETag"] = shown_tag(job)
    return job


@router.get("/schedules", response_model=ScheduleList)
async def list_schedules(_: AllJobsReader, jobs: Jobs, read: Read) -> Any:
    """Admins only. What runs by the clock, with its last and its next run."""
    return {"items": await jobs.schedules(read)}


@router.post("/reports", status_code=202, response_model=JobRead)
async def create_report(
    data: ReportCreate,
    principal: ReportsWriter,
    _: Annotated[None, Idempotent],
    reports: Reports,
    jobs: Jobs,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. The answer is the job that draws the report; fetch `/jobs/{id}/result` when it has succeeded."""
    job_id = await reports.request(session, principal=principal, data=data)
    return accepted(response, await jobs.accepted(session, job_id=job_id))
