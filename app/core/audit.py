"""Who did what to which object: a row in the transaction of its cause that nobody can change (decision 0030)."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert

from app.core.context import Cause, current_cause
from app.core.database import Base, WriteSession
from app.core.enums import ActorType
from app.core.redaction import redact


async def audit(
    session: WriteSession,
    *,
    action: str,
    object_type: str,
    object_id: int | None = None,
    changes: Mapping[str, Any] | None = None,
    actor_id: int | None = None,
) -> None:
    """Record an action, named `noun.verb`. Actor, address and request id are those of the context.

    `actor_id` names a user whom the context does not know yet: somebody who signs in. What looks like a secret in
    `changes` is masked, but it should not be there at all.
    """
    cause = current_cause()
    actor_type, actor = (ActorType.USER, actor_id) if actor_id is not None else _actor(cause)
    events = Base.metadata.tables["audit_events"]
    await session.execute(
        insert(events).values(
            actor_type=actor_type,
            actor_id=actor,
            action=action,
            object_type=object_type,
            object_id=object_id,
            address=cause.address,
            request_id=cause.request_id,
            changes=redact(changes or {}),
        )
    )


def difference(present: object, changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What `changes` would make of `present`, field by field; empty when nothing."""
    pairs = {field: (getattr(present, field), value) for field, value in changes.items()}
    return {field: {"from": old, "to": new} for field, (old, new) in pairs.items() if old != new}


def _actor(cause: Cause) -> tuple[ActorType, int | None]:
    if cause.user_id is not None:
        # A service account is below zero (services/principal.py).
        kind = ActorType.USER if cause.user_id > 0 else ActorType.SERVICE_ACCOUNT
        return kind, abs(cause.user_id)
    # Work without a request is the service's own: a schedule, a command.
    return (ActorType.ANONYMOUS if cause.address is not None else ActorType.SYSTEM), None
