"""Sign-ins, their refresh tokens and the tokens of mails."""

from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, ReadSession, WriteSession, hear_own_change
from app.core.enums import TokenPurpose
from app.crud.base import CRUDBase, Where
from app.models import AuthSession, OneTimeToken, RefreshToken, User

# One statement answers who asks, whether that session still stands, and all that `GET /users/me` shows. Made once:
# putting it together took longer than running it.
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
    .where(
        AuthSession.id == bindparam("session_id"),
        User.id == bindparam("user_id"),
        AuthSession.revoked_at.is_(None),
        User.is_active,
        User.deleted_at.is_(None),
    )
)


class AuthSessionCRUD(CRUDBase[AuthSession]):
    async def principal(self, read: ReadSession, *, session_id: int, user_id: int) -> AnyRow | None:
        """The user behind a live session; None when either has ended."""
        return await read.first(_PRINCIPAL, {"session_id": session_id, "user_id": user_id})

    async def add_refresh_token(
        self, session: WriteSession, *, session_id: int, token_hash: bytes, expires_at: datetime
    ) -> None:
        await session.execute(
            insert(RefreshToken)
            .values(session_id=session_id, token_hash=token_hash, expires_at=expires_at)
            .on_conflict_do_nothing(index_elements=["token_hash"])
        )

    async def spend(self, session: WriteSession, *, token_hash: bytes) -> AnyRow | None:
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

    async def refresh_token(self, session: WriteSession, *, token_hash: bytes, grace_seconds: int) -> AnyRow | None:
        """What is known of a refresh token: its session, when that ended, when it was spent, whether in the grace."""
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

    async def touch(self, session: WriteSession, session_id: int) -> AnyRow | None:
        """Note that the session was used; gives its live user's id and role, the session's scope and start."""
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
            .returning(AuthSession.user_id, AuthSession.scope, AuthSession.created_at, User.role)
        )
        return (await session.execute(statement)).first()

    async def is_fresh(self, read: ReadSession, *, session_id: int, seconds: int) -> bool:
        """Whether the sign-in was less than so long ago."""
        begun = AuthSession.created_at > func.now() - timedelta(seconds=seconds)
        return bool(await read.scalar(select(begun).where(AuthSession.id == session_id)))

    def of_user(self, user_id: int, *, refresh_token_days: int, session_days: int) -> Where:
        """The user's sessions that may still be refreshed."""
        columns = self.columns
        return (
            columns.user_id == user_id,
            columns.revoked_at.is_(None),
            columns.last_seen_at > func.now() - timedelta(days=refresh_token_days),
            columns.created_at > func.now() - timedelta(days=session_days),
        )

    async def revoke(self, session: WriteSession, session_id: int, *, user_id: int | None = None) -> bool:
        """End a session, of that user if one is given; False when there is no such one that goes on."""
        statement = update(AuthSession).where(AuthSession.id == session_id, AuthSession.revoked_at.is_(None))
        if user_id is not None:
            statement = statement.where(AuthSession.user_id == user_id)
        ended = await session.execute(statement.values(revoked_at=func.now()).returning(AuthSession.id))
        found = ended.first() is not None
        await hear_own_change(session)
        return found

    async def revoke_all(self, session: WriteSession, user_id: int, *, but: int | None = None) -> None:
        """End the user's sessions, all of them or all but one."""
        statement = update(AuthSession).where(AuthSession.user_id == user_id, AuthSession.revoked_at.is_(None))
        if but is not None:
            statement = statement.where(AuthSession.id != but)
        await session.execute(statement.values(revoked_at=func.now()))
        await hear_own_change(session)

    async def add_one_time_token(
        self, session: WriteSession, *, user_id: int, purpose: TokenPurpose, token_hash: bytes, expires_at: datetime
    ) -> None:
        """Store a mailed token's hash; the same token again (a repeated attempt) lives as long as the mail says."""
        statement = insert(OneTimeToken).values(
            user_id=user_id, purpose=purpose, token_hash=token_hash, expires_at=expires_at
        )
        await session.execute(
            statement.on_conflict_do_update(index_elements=["token_hash"], set_={"expires_at": expires_at})
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

    async def prune_tokens(self, session: WriteSession, *, kept: timedelta, limit: int) -> int:
        """Delete tokens that expired longer than `kept` ago: a spent one has nothing left to show."""
        deleted = 0
        for model in (RefreshToken, OneTimeToken):
            old = select(model.id).where(model.expires_at < func.now() - kept).limit(limit)
            statement = delete(model).where(model.id.in_(old)).returning(model.id)
            deleted += len((await session.execute(statement)).all())
        return deleted

    async def prune(self, session: WriteSession, *, kept: timedelta, limit: int) -> int:
        """Delete sessions that ended longer than `kept` ago, or that have no token left to be used by."""
        usable = exists().where(
            RefreshToken.session_id == AuthSession.id,
            RefreshToken.spent_at.is_(None),
            RefreshToken.expires_at > func.now(),
        )
        long_ago = func.now() - kept
        over = or_(AuthSession.revoked_at < long_ago, and_(AuthSession.last_seen_at < long_ago, ~usable))
        old = select(AuthSession.id).where(over).limit(limit)
        statement = delete(AuthSession).where(AuthSession.id.in_(old)).returning(AuthSession.id)
        return len((await session.execute(statement)).all())


auth_sessions = AuthSessionCRUD(AuthSession)
