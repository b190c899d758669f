"""The keys that sign access tokens."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import KeyAlgorithm
from app.models.base import Created, enum_column, one_of


class SigningKey(Created, Base):
    """One key. Public from its first day, it signs from `signs_from` on until a younger one does, and verifies until
    `verify_until`; `retired_at` ends it at once. The private half is sealed (core/sealing.py)."""

    __tablename__ = "signing_keys"
    __table_args__ = (CheckConstraint(one_of("algorithm", KeyAlgorithm), name="algorithm"),)

    kid: Mapped[str] = mapped_column(Text, primary_key=True)
    algorithm: Mapped[KeyAlgorithm] = mapped_column(enum_column(KeyAlgorithm))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSONB)
    signs_from: Mapped[datetime] = mapped_column(server_default=func.now())
    verify_until: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
