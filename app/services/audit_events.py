"""The audit record, as superadmins look at it."""

from dataclasses import dataclass

from app.core.database import ReadSession
from app.core.listing import Page, PageQuery
from app.crud.audit_events import audit_events
from app.services.principal import Principal, require_superadmin


@dataclass(frozen=True, slots=True)
class AuditEventService:
    async def page(self, read: ReadSession, *, principal: Principal, query: PageQuery) -> Page:
        require_superadmin(principal)
        return await audit_events.page(read, query)
