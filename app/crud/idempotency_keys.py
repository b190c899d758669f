"""Stored first answers."""

from datetime import timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, WriteSession
from app.models import IdempotencyKey

KEPT = timedelta(hours=24)


class IdempotencyKeyCRUD:
    async def try_lock(self, session: WriteSession, *, owner: str, route: str, key: str) -> bool:
        """Hold the key until the transaction ends; False when a request that runs right now holds it."""
        digest = blake2b(f"{owner}\0{route}\0{key}".encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "big", signed=True)
        return bool((await session.execute(select(func.pg_try_advisory_xact_lock(number)))).scalar_one())

    async def find(self, session: WriteSession, *, owner: str, route: str, key: str, kept: timedelta) -> AnyRow | None:
        """The stored answer when it is younger than `kept`."""
        columns = IdempotencyKey.__table__.c
        statement = select(columns.request_hash, columns.status, columns.headers, columns.body).where(
            columns.owner == owner,
            columns.route == route,
            columns.key == key,
            columns.created_at > func.now() - kept,
        )
        return (await session.execute(statement)).first()

    async def store(self, session: WriteSession, **values: Any) -> None:
        """Keep the answer; an expired one under the same key is replaced."""
        statement = insert(IdempotencyKey).values(**values)
        fresh = {name: statement.excluded[name] for name in ("request_hash", "status", "headers", "body", "created_at")}
        await session.execute(statement.on_conflict_do_update(index_elements=["owner", "route", "key"], set_=fresh))

    async def prune(self, session: WriteSession, *, kept: timedelta, limit: int) -> int:
        columns = IdempotencyKey.__table__.c
        key = tuple_(columns.owner, columns.route, columns.key)
        old = select(columns.owner, columns.route, columns.key).where(columns.created_at < func.now() - kept)
        statement = delete(IdempotencyKey).where(key.in_(old.order_by(columns.created_at).limit(limit)))
        return len((await session.execute(statement.returning(IdempotencyKey.key))).all())


idempotency_keys = IdempotencyKeyCRUD()
