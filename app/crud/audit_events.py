"""Audit events: read, and the oldest removed. They are written by `app.core.audit`."""

from sqlalchemy import func, select

from app.core.database import WriteSession
from app.crud.base import CRUDBase
from app.models import AuditEvent


class AuditEventCRUD(CRUDBase[AuditEvent]):
    async def prune(self, session: WriteSession, *, days: int, limit: int) -> int:
        """Remove up to `limit` of the oldest events that are more than `days` old; returns how many."""
        return int((await session.execute(select(func.prune_audit_events(days, limit)))).scalar_one())


audit_events = AuditEventCRUD(AuditEvent)
