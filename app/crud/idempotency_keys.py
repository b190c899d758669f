"""Stored first answers."""

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import ColumnElement, delete, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, WriteSession
from app.models import IdempotencyKey

KEPT = timedelta(hours=24)
_REPLACED = ("request_hash", "status", "headers", "body", "leased_until", "created_at")


class IdempotencyKeyCRUD:
    async def try_lock(self, session: WriteSession, *, owner: str, route: str, key: str) -> bool:
        """Hold the key until the transaction ends; False when a request that runs right now holds it."""
        digest = blake2b(f"{owner}\0{route}\0{key}".encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "big", signed=True)
        return bool((await session.execute(select(func.pg_try_advisory_xact_lock(number)))).scalar_one())

    async def find(self, session: WriteSession, *, owner: str, route: str, key: str, kept: timedelta) -> AnyRow | None:
        """The stored answer when it is younger than `kept`. Without a status it is a request that has not ended yet,
        or never will unless it is `under_way`."""
        columns = IdempotencyKey.__table__.c
        under_way = (columns.leased_until > func.now()).label("under_way")
        statement = select(columns.request_hash, columns.status, columns.headers, columns.body, under_way).where(
            columns.owner == owner,
            columns.route == route,
            columns.key == key,
            columns.created_at > func.now() - kept,
        )
        return (await session.execute(statement)).first()

    async def store(self, session: WriteSession, **values: Any) -> None:
        """Keep the answer; an expired one under the same key is replaced, and so is a reservation."""
        statement = insert(IdempotencyKey).values(**values)
        fresh = {name: statement.excluded[name] for name in _REPLACED}
        await session.execute(statement.on_conflict_do_update(index_elements=["owner", "route", "key"], set_=fresh))

    async def reserve(self, session: WriteSession, *, seconds: float, **values: Any) -> None:
        """The request runs, for `seconds` unless renewed."""
        await self.store(session, **values, leased_until=_in(seconds))

    async def renew(self, session: WriteSession, *, owner: str, route: str, key: str, seconds: float) -> None:
        columns = IdempotencyKey.__table__.c
        own = (columns.owner == owner, columns.route == route, columns.key == key, columns.status.is_(None))
        await session.execute(update(IdempotencyKey).where(*own).values(leased_until=_in(seconds)))

    async def release(self, session: WriteSession, *, owner: str, route: str, key: str) -> None:
        """Forget a request that has ended without an answer to keep."""
        columns = IdempotencyKey.__table__.c
        own = (columns.owner == owner, columns.route == route, columns.key == key, columns.status.is_(None))
        await session.execute(delete(IdempotencyKey).where(*own))

    async def prune(self, session: WriteSession, *, kept: timedelta, limit: int) -> int:
        columns = IdempotencyKey.__table__.c
        key = tuple_(columns.owner, columns.route, columns.key)
        old = select(columns.owner, columns.route, columns.key).where(columns.created_at < func.now() - kept)
        statement = delete(IdempotencyKey).where(key.in_(old.order_by(columns.created_at).limit(limit)))
        return len((await session.execute(statement.returning(IdempotencyKey.key))).all())


def _in(seconds: float) -> ColumnElement[datetime]:
    return func.now() + literal(timedelta(seconds=seconds))


idempotency_keys = IdempotencyKeyCRUD()
