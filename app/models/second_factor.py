"""A second factor: the secret of an authenticator app, and the codes for when it is lost (decision 0032)."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.models.base import Created, WithId


class TotpCredential(Created, Base):
    """The sealed secret of one user. Without `confirmed_at` it asks nobody for a code yet.

    `last_step` is the newest step of time whose code was used; one that is not newer is a replay.
    """

    __tablename__ = "totp_credentials"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int] = mapped_column(server_default="0")
    confirmed_at: Mapped[datetime | None]


class RecoveryCode(WithId, Base):
    """One code that works once in place of the authenticator; only a keyed hash is kept."""

    __tablename__ = "recovery_codes"
    __table_args__ = (UniqueConstraint("user_id", "code_hash"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("totp_credentials.user_id", ondelete="CASCADE"))
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    used_at: Mapped[datetime | None]
