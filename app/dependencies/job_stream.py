"""What following a job takes beside the job."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Header, Request

from app.dependencies.resources import container_of
from app.dependencies.session import bearer

Check = Callable[[], Awaitable[object]]


async def get_session_check(request: Request, token: Annotated[str | None, Depends(bearer)]) -> Check:
    """Raises Unauthenticated once the session of this request has ended."""
    container = container_of(request)

    async def check() -> object:
        return await container.auth.authenticate(container.database.read, token=token or "")

    return check


async def get_last_event_id(
    header: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=64, description="the `id` of the last event that came"),
    ] = None,
) -> int | None:
    return int(header) if header is not None and header.isdecimal() and header.isascii() else None


SessionCheck = Annotated[Check, Depends(get_session_check)]
LastEventId = Annotated[int | None, Depends(get_last_event_id)]
