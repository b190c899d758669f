"""The changes of a job as server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from app.dependencies.access import JobsReader
from app.dependencies.job_stream import LastEventId, SessionCheck
from app.dependencies.resources import ContainerDep
from app.dependencies.session import Read
from app.routers.responses import PathId
from app.routers.route import Router
from app.services.job_stream import JobEvent, JobStream

router = Router(tags=["background"])
COME_AGAIN_MS = 2000
# Without an empty line after it, and `retry` has no block of its own: some clients would see an event without data.
ALIVE = b": ping\n"
# Proxies would collect events until their buffer is full.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def get_job_stream(
    container: ContainerDep, job_id: PathId, principal: JobsReader, read: Read
) -> AsyncIterator[JobStream]:
    # Before a place is taken: a job that is not theirs costs nobody one.
    await container.jobs.visible(read, principal=principal, job_id=job_id)
    async with container.job_events.watch(job_id, user_id=principal.id) as onlooker:
        # Once more, because it may have changed before anybody looked on.
        row = await container.jobs.visible(read, principal=principal, job_id=job_id)
        onlooker.begin(row.version)
        yield JobStream(row, onlooker, container.job_events.settings)


# To the end of the answer, not of the handler: that is when the onlooker goes.
JobStreamDep = Annotated[JobStream, Depends(get_job_stream, scope="request")]


async def _encoded(events: AsyncIterator[JobEvent | None]) -> AsyncIterator[bytes]:
    retry: int | None = COME_AGAIN_MS
    async for event in events:
        if event is None:
            yield ALIVE
        else:
            data = event.job.model_dump_json()
            yield format_sse_event(event=event.kind, id=str(event.id), retry=retry, data_str=data)
            retry = None


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`status` and `progress` events and an `end`, each with the whole job as data",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The job has ended, and the client has seen it: do not come again"},
    },
)
async def follow_job(stream: JobStreamDep, check: SessionCheck, seen: LastEventId, read: Read) -> Any:
    """Its creator's and admins'. The job as it is, then each change of its status or progress, then its end.

    A stream ends after a while, and with the session; a client that comes again with `Last-Event-ID`, as browsers do,
    gets the present state if that is a newer one. 429 or 503 when too many are open.
    """
    if stream.is_over(seen):
        return Response(status_code=204)
    events = stream.events(read, seen=seen, check=check)
    return StreamingResponse(_encoded(events), media_type="text/event-stream", headers=HEADERS)
