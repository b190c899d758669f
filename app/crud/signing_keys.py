"""The keys that sign access tokens."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from app.core.database import AnyRow, ReadSession, WriteSession, take_turns
from app.models import SigningKey

# Any number: whoever makes or ends a key takes turns with the others.
_LOCK = 4_721_003


class SigningKeyCRUD:
    async def living(self, read: ReadSession) -> Sequence[AnyRow]:
        """The keys that some token may still be verified with, the next one among them."""
        return await read.all(select(SigningKey.__table__).where(self._lives()))

    async def every(self, read: ReadSession) -> Sequence[AnyRow]:
        return await read.all(select(SigningKey.__table__).order_by(SigningKey.signs_from))

    async def lock(self, session: WriteSession) -> list[SigningKey]:
        """The living keys, oldest first, and nobody else changes them until the transaction ends."""
        await take_turns(session, _LOCK)
        statement = select(SigningKey).where(self._lives()).order_by(SigningKey.signs_from)
        return list((await session.execute(statement)).scalars())

    async def add(self, session: WriteSession, key: SigningKey, *, ahead: timedelta) -> SigningKey:
        """Store a key that signs after `ahead`, by the database's clock."""
        key.signs_from = func.now() + ahead
        session.add(key)
        await session.flush()
        await session.refresh(key)
        return key

    async def begin(self, session: WriteSession, key: SigningKey) -> None:
        """Let it sign from now on."""
        key.signs_from = func.now()
        await session.flush()
        await session.refresh(key)

    async def expire_others(self, session: WriteSession, *, but: str, after: timedelta) -> None:
        """The other living keys verify for `after` more; what has an end keeps the earlier one."""
        end = func.least(SigningKey.verify_until, func.now() + after)
        await session.execute(
            update(SigningKey)
            .where(self._lives(), SigningKey.kid != but)
            .values(verify_until=end)
            .execution_options(synchronize_session=False)
        )

    async def retire(self, session: WriteSession, key: SigningKey) -> None:
        key.retired_at = func.now()
        await session.flush()

    async def prune(self, session: WriteSession) -> None:
        """Forget what verifies no more."""
        await session.execute(delete(SigningKey).where(~self._lives()).execution_options(synchronize_session=False))

    @staticmethod
    def _lives() -> ColumnElement[bool]:
        return SigningKey.retired_at.is_(None) & or_(
            SigningKey.verify_until.is_(None), SigningKey.verify_until > func.now()
        )


signing_keys = SigningKeyCRUD()
