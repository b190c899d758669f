"""Events of other services, each once."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.core.database import WriteSession
from app.models import ReceivedEvent


async def keep(
    session: WriteSession,
    *,
    source: str,
    event_id: str,
    kind: str,
    occurred_at: datetime,
    data: dict[str, Any],
) -> bool:
    """Store the event; False when it has been here before."""
    statement = insert(ReceivedEvent).values(
        source=source, event_id=event_id, type=kind, occurred_at=occurred_at, data=data
    )
    statement = statement.on_conflict_do_nothing(index_elements=["source", "event_id"])
    return (await session.execute(statement.returning(ReceivedEvent.id))).scalar_one_or_none() is not None


async def prune(session: WriteSession, *, kept: timedelta, limit: int) -> int:
    """Forget at most `limit` events that came longer ago than `kept`; returns how many."""
    old = select(ReceivedEvent.id).where(ReceivedEvent.created_at < func.now() - kept)
    statement = delete(ReceivedEvent).where(ReceivedEvent.id.in_(old.order_by(ReceivedEvent.id).limit(limit)))
    return len((await session.execute(statement.returning(ReceivedEvent.id))).all())
