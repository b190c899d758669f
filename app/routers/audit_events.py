"""The audit record, for superadmins."""

from typing import Annotated, Any

from fastapi import Depends

from app.core.listing import PageQuery
from app.dependencies.listing import page_query
from app.dependencies.resources import AuditEvents, CursorsDep
from app.dependencies.session import Read, SuperadminUser
from app.routers.responses import paged
from app.routers.route import Router
from app.schemas.audit_events import AUDIT_EVENTS, AuditEventRead
from app.schemas.base import PageOut

router = Router(prefix="/audit-events", tags=["identity"])


@router.get("", response_model=PageOut[AuditEventRead])
async def list_audit_events(
    query: Annotated[PageQuery, Depends(page_query(AUDIT_EVENTS))],
    principal: SuperadminUser,
    audit_events: AuditEvents,
    read: Read,
    cursors: CursorsDep,
) -> Any:
    """Superadmins only: who did what to which object, when, from where."""
    return paged(await audit_events.page(read, principal=principal, query=query), query, AUDIT_EVENTS, cursors)
