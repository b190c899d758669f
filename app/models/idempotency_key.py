"""Answers kept for repeated requests."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, LargeBinary, PrimaryKeyConstraint, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base


class IdempotencyKey(Base):
    """The first answer to a request that carried a key, stored in the transaction of its effect; or the reservation of
    a request that takes several transactions, until `leased_until`."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        PrimaryKeyConstraint("owner", "route", "key"),
        CheckConstraint("num_nonnulls(status, leased_until) = 1", name="leased_until"),
        CheckConstraint("num_nulls(status, headers, body) IN (0, 3)", name="status"),
    )

    owner: Mapped[str] = mapped_column(Text)
    route: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    leased_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
