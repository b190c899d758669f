"""The addresses that a person has had: what was told of them by address alone is found by these."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from app.core.database import AnyRow, WriteSession
from app.crud.audit_events import audit_events
from app.models import OneTimeToken, User

_ALWAYS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Held:
    """An address in lower case, theirs from `since` to `until`; without `since` nobody else ever had it."""

    address: str
    since: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Whose data it is."""

    id: int
    addresses: tuple[Held, ...]


async def person(session: WriteSession, account: AnyRow) -> Person:
    """The person of this account, with every address that the account has had or was to have."""
    spans = _spans(account, await _changes(session, account.id)) + await _asked(session, account.id)
    lowered = [func.lower(address) for address, _, _ in spans]
    found = (await session.execute(select(*lowered))).one()
    others = select(func.lower(User.email)).where(User.id != account.id, func.lower(User.email).in_(found))
    shared = set((await session.execute(others)).scalars())
    held = [
        Held(address, since if address in shared else None, until)
        for address, (_, since, until) in zip(found, spans, strict=True)
        # Asked for, and somebody else's: never theirs.
        if since is not None or address not in shared
    ]
    return Person(account.id, tuple(held))


_Span = tuple[str, datetime | None, datetime]


def _spans(account: AnyRow, changes: Sequence[AnyRow]) -> list[_Span]:
    spans: list[_Span] = []
    since = account.created_at
    for change in changes:
        spans.append((change.before, since, change.at))
        since = change.at
    return [*spans, (account.email, since, account.deleted_at or _ALWAYS)]


async def _changes(session: WriteSession, user_id: int) -> Sequence[AnyRow]:
    """Each change of the address, oldest first, as far as the audit record goes back."""
    events = audit_events.columns
    before = events.changes["email"]["from"].astext.label("before")
    of_user = (events.object_type == "user", events.object_id == user_id, events.action == "email.changed")
    statement = select(events.at, before).where(*of_user, before.is_not(None)).order_by(events.id)
    return (await session.execute(statement)).all()


async def _asked(session: WriteSession, user_id: int) -> list[_Span]:
    """Addresses that the account was to change to."""
    statement = select(OneTimeToken.email).where(OneTimeToken.user_id == user_id, OneTimeToken.email.is_not(None))
    return [(address, None, _ALWAYS) for address in set((await session.execute(statement)).scalars()) if address]
