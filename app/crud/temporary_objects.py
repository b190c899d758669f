"""The register of objects in storage that nothing refers to."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.core.database import ReadSession, WriteSession
from app.models import TemporaryObject

GAP = timedelta(minutes=1)
"""Between the expiry and the sweep: longer than a transaction that adopts may take."""


async def keep(session: WriteSession, keys: Sequence[str], *, lifetime: timedelta) -> None:
    """Let the objects be swept `lifetime` from now, whatever was said of them before."""
    expires_at = func.now() + lifetime
    statement = insert(TemporaryObject).values([{"key": key, "expires_at": expires_at} for key in keys])
    await session.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_={"expires_at": statement.excluded.expires_at})
    )


async def adopt(session: WriteSession, keys: Sequence[str]) -> int:
    """Let the objects stay for good; how many of them were still there to stay."""
    statement = delete(TemporaryObject).where(TemporaryObject.key.in_(keys), TemporaryObject.expires_at > func.now())
    return len((await session.execute(statement.returning(TemporaryObject.key))).all())


async def expired(read: ReadSession, *, limit: int) -> list[str]:
    statement = select(TemporaryObject.key).where(TemporaryObject.expires_at < func.now() - GAP)
    return [row.key for row in await read.all(statement.order_by(TemporaryObject.expires_at).limit(limit))]


async def forget(session: WriteSession, keys: Sequence[str]) -> None:
    """The objects are gone."""
    await session.execute(delete(TemporaryObject).where(TemporaryObject.key.in_(keys)))
