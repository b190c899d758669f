"""Sign-ins, their refresh tokens and the tokens of mails."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import ReadSession, WriteSession
from app.core.enums import TokenPurpose
from app.crud.base import CRUDBase
from app.models import AuthSession, OneTimeToken, RefreshToken, User

# One statement answers who asks, whether that session still stands, and all that `GET /users/me` shows.
_PRINCIPAL = (
    select(
        User.id,
        User.email,
        User.full_name,
        User.role,
        User.is_active,
        User.email_verified,
        User.created_at,
        User.version,
    )
    .select_from(User)
    .join(AuthSession, AuthSession.user_id == User.id)
    .where(AuthSession.revoked_at.is_(None), User.is_active, User.deleted_at.is_(None))
)


class AuthSessionCRUD(CRUDBase[AuthSession]):
    async def principal(self, read: ReadSession, *, session_id: int, user_id: int) -> Row[Any] | None:
        """The user behind a live session; None when either has ended."""
        return await read.first(_PRINCIPAL.where(AuthSession.id == session_id, User.id == user_id))

    async def add_refresh_token(
        self, session: WriteSession, *, session_id: int, token_hash: bytes, expires_at: datetime
    ) -> None:
        await session.execute(
            insert(RefreshToken)
            .values(session_id=session_id, token_hash=token_hash, expires_at=expires_at)
            .on_conflict_do_nothing(index_elements=["token_hash"])
        )

    async def spend(self, session: WriteSession, *, token_hash: bytes) -> Row[Any] | None:
        """Spend a live refresh token in one statement: of many rivals one gets the row, the others None."""
        statement = (
            update(RefreshToken)
            .where(
                RefreshToken.token_hash == token_hash,
                RefreshToken.spent_at.is_(None),
                RefreshToken.expires_at > func.now(),
                exists().where(AuthSession.id == RefreshToken.session_id, AuthSession.revoked_at.is_(None)),
            )
            .values(spent_at=func.clock_timestamp())
            .returning(RefreshToken.session_id)
        )
        return (await session.execute(statement)).first()

    async def refresh_token(self, session: WriteSession, *, token_hash: bytes, grace_seconds: int) -> Row[Any] | None:
        """What is known of a refresh token: its session, whether that ended, whether it was spent, and within the grace."""
        statement = (
            select(
                RefreshToken.session_id,
                RefreshToken.spent_at,
                AuthSession.revoked_at,
                (RefreshToken.spent_at > func.clock_timestamp() - timedelta(seconds=grace_seconds)).label("in_grace"),
            )
            .join(AuthSession, AuthSession.id == RefreshToken.session_id)
            .where(RefreshToken.token_hash == token_hash)
        )
        return (await session.execute(statement)).first()

    async def touch(self, session: WriteSession, session_id: int) -> Row[Any] | None:
        """Note that the session was used; gives its live user's id and role and the session's scope."""
        statement = (
            update(AuthSession)
            .where(
                AuthSession.id == session_id,
                AuthSession.revoked_at.is_(None),
                User.id == AuthSession.user_id,
                User.is_active,
                User.deleted_at.is_(None),
            )
            .values(last_seen_at=func.now())
            .returning(AuthSession.user_id, AuthSession.scope, User.role)
        )
        return (await session.execute(statement)).first()

    async def revoke(self, session: WriteSession, session_id: int) -> None:
        await session.execute(
            update(AuthSession)
            .where(AuthSession.id == session_id, AuthSession.revoked_at.is_(None))
            .values(revoked_at=func.now())
        )

    async def revoke_all(self, session: WriteSession, user_id: int) -> None:
        await session.execute(
            update(AuthSession)
            .where(AuthSession.user_id == user_id, AuthSession.revoked_at.is_(None))
            .values(revoked_at=func.now())
        )

    async def add_one_time_token(
        self, session: WriteSession, *, user_id: int, purpose: TokenPurpose, token_hash: bytes, expires_at: datetime
    ) -> None:
        """Store a mailed token's hash; the same token again (a repeated attempt) changes nothing."""
        await session.execute(
            insert(OneTimeToken)
            .values(user_id=user_id, purpose=purpose, token_hash=token_hash, expires_at=expires_at)
            .on_conflict_do_nothing(index_elements=["token_hash"])
        )

    async def use_one_time_token(
        self, session: WriteSession, *, purpose: TokenPurpose, token_hash: bytes
    ) -> int | None:
        """The user of a live token, which is thereby used up; None for any other."""
        statement = (
            update(OneTimeToken)
            .where(
                OneTimeToken.token_hash == token_hash,
                OneTimeToken.purpose == purpose,
                OneTimeToken.used_at.is_(None),
                OneTimeToken.expires_at > func.now(),
            )
            .values(used_at=func.now())
            .returning(OneTimeToken.user_id)
        )
        return (await session.execute(statement)).scalar_one_or_none()


auth_sessions = AuthSessionCRUD(AuthSession)
