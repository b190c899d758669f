"""Tokens that were mailed: links that reset a password or change an address."""

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import TokenPurpose
from app.crud.base import CRUDBase, Where
from app.models import OneTimeToken


def _live(purpose: TokenPurpose, token_hash: bytes) -> Where:
    return (
        OneTimeToken.token_hash == token_hash,
        OneTimeToken.purpose == purpose,
        OneTimeToken.used_at.is_(None),
        OneTimeToken.expires_at > func.now(),
    )


class OneTimeTokenCRUD(CRUDBase[OneTimeToken]):
    async def store(
        self,
        session: WriteSession,
        *,
        user_id: int,
        purpose: TokenPurpose,
        token_hash: bytes,
        expires_at: datetime,
        email: str | None = None,
    ) -> None:
        """Keep a mailed token's hash; the same token again (a repeated attempt) lives as long as the mail says."""
        statement = insert(OneTimeToken).values(
            user_id=user_id, purpose=purpose, token_hash=token_hash, expires_at=expires_at, email=email
        )
        await session.execute(
            statement.on_conflict_do_update(index_elements=["token_hash"], set_={"expires_at": expires_at})
        )

    async def owner(self, read: ReadSession, *, purpose: TokenPurpose, token_hash: bytes) -> int | None:
        """The user of a live token, which stays live."""
        user_id: int | None = await read.scalar(select(OneTimeToken.user_id).where(*_live(purpose, token_hash)))
        return user_id

    async def use(self, session: WriteSession, *, purpose: TokenPurpose, token_hash: bytes) -> AnyRow | None:
        """The user and the e-mail of a live token, which is thereby used up; of rivals one gets them."""
        statement = (
            update(OneTimeToken)
            .where(*_live(purpose, token_hash))
            .values(used_at=func.now())
            .returning(OneTimeToken.user_id, OneTimeToken.email)
        )
        return (await session.execute(statement)).first()

    async def end_all(self, session: WriteSession, user_id: int) -> None:
        """No link that was mailed to this user works any longer."""
        await session.execute(
            update(OneTimeToken)
            .where(OneTimeToken.user_id == user_id, OneTimeToken.used_at.is_(None))
            .values(used_at=func.now())
        )


one_time_tokens = OneTimeTokenCRUD(OneTimeToken)
