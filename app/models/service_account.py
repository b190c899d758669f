"""Programs that sign in for themselves."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.models.base import Created, SoftDeleted, Versioned, WithId


class ServiceAccount(WithId, Created, SoftDeleted, Versioned, Base):
    """A program with scopes of its own; it signs in by client credentials and has no role."""

    __tablename__ = "service_accounts"

    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))


class ServiceAccountSecret(WithId, Created, Base):
    """One of its secrets, as a keyed hash. Tokens name the secret they were got with, and end with it."""

    __tablename__ = "service_account_secrets"
    __table_args__ = (Index(None, "account_id", postgresql_where=text("revoked_at IS NULL")),)

    account_id: Mapped[int] = mapped_column(ForeignKey("service_accounts.id"))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    revoked_at: Mapped[datetime | None]
