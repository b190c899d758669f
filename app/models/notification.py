"""Mail to many, and what became of it for whom."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, PrimaryKeyConstraint, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import RecipientStatus, Role
from app.models.base import Created, WithId, enum_column, one_of


class Notification(WithId, Created, Base):
    """One mail to an audience: a role or some accounts, of those that existed up to `last_user_id`."""

    __tablename__ = "notifications"
    __table_args__ = (
        CheckConstraint("num_nonnulls(role, user_ids) = 1", name="audience"),
        CheckConstraint(one_of("role", Role), name="role"),
        Index(None, "created_at"),
    )

    template: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    context: Mapped[dict[str, Any]] = mapped_column(JSONB)
    role: Mapped[Role | None] = mapped_column(enum_column(Role))
    user_ids: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    last_user_id: Mapped[int]


class NotificationRecipient(Base):
    """A recipient that is done with. One without a row is still to be sent to, or was when the sender died."""

    __tablename__ = "notification_recipients"
    __table_args__ = (
        PrimaryKeyConstraint("notification_id", "user_id"),
        CheckConstraint(one_of("status", RecipientStatus), name="status"),
        CheckConstraint("(status = 'failed') = (reason IS NOT NULL)", name="reason"),
    )

    notification_id: Mapped[int] = mapped_column(ForeignKey("notifications.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    status: Mapped[RecipientStatus] = mapped_column(enum_column(RecipientStatus))
    reason: Mapped[str | None] = mapped_column(Text)
