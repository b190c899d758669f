"""Events of other services, each once."""

from datetime import datetime
from typing import Any

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
