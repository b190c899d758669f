"""A sign-in, the refresh tokens it has had, and the single-use tokens of mails."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import TokenPurpose
from app.models.base import Created, WithId, enum_column, one_of


class AuthSession(WithId, Created, Base):
    """One sign-in on one device; ending it ends its access tokens and its refresh tokens at once."""

    __tablename__ = "auth_sessions"
    __table_args__ = (Index(None, "user_id", postgresql_where=text("revoked_at IS NULL")),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    scope: Mapped[str] = mapped_column(Text, server_default="")
    user_agent: Mapped[str] = mapped_column(Text, server_default="")
    address: Mapped[str] = mapped_column(Text, server_default="")
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]


class RefreshToken(WithId, Created, Base):
    """One link of a session's chain; only the hash is kept, a spent one shows reuse."""

    __tablename__ = "refresh_tokens"

    session_id: Mapped[int] = mapped_column(ForeignKey("auth_sessions.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    expires_at: Mapped[datetime]
    spent_at: Mapped[datetime | None]


class OneTimeToken(WithId, Created, Base):
    """A token that was mailed; only the hash is kept, and it is used once. `email` is the address to change to."""

    __tablename__ = "one_time_tokens"
    __table_args__ = (CheckConstraint(one_of("purpose", TokenPurpose), name="purpose"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[TokenPurpose] = mapped_column(enum_column(TokenPurpose))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    email: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
