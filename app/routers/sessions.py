"""The places where somebody is signed in."""

from typing import Annotated, Any

from fastapi import Depends, Response

from app.core.listing import PageQuery
from app.dependencies.listing import page_query
from app.dependencies.resources import CursorsDep, Sessions
from app.dependencies.session import CurrentUser, Read, Write
from app.routers.responses import PathId, paged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.sessions import SESSIONS, SessionRead

router = Router(prefix="/auth/sessions", tags=["identity"])


@router.get("", response_model=PageOut[SessionRead])
async def list_sessions(
    query: Annotated[PageQuery, Depends(page_query(SESSIONS))],
    principal: CurrentUser,
    sessions: Sessions,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Your own that go on: where, with what, since when, and when last."""
    return paged(await sessions.page(read, principal=principal, query=query), query, SESSIONS, cursors)


@router.delete("", status_code=204, response_class=Response)
async def end_sessions(principal: CurrentUser, sessions: Sessions, session: Write) -> None:
    """End all of your sessions, this one too."""
    await sessions.end_all(session, principal=principal)


@router.delete("/{session_id}", status_code=204, response_class=Response)
async def end_session(session_id: PathId, principal: CurrentUser, sessions: Sessions, session: Write) -> None:
    """End one of your sessions: its access tokens stop working at once."""
    await sessions.end(session, principal=principal, session_id=session_id)
