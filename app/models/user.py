"""People who sign in."""

from sqlalchemy import CheckConstraint, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import Role
from app.models.base import Created, SoftDeleted, Versioned, WithId, enum_column, one_of


class User(WithId, Created, SoftDeleted, Versioned, Base):
    """An account. The e-mail is unique among accounts that are not deleted, whatever its case."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint(one_of("role", Role), name="role"),)

    email: Mapped[str] = mapped_column(Text)
    full_name: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[Role] = mapped_column(enum_column(Role), server_default=Role.CLIENT.value, default=Role.CLIENT)
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"), default=False)


Index("uq_users_email", func.lower(User.email), unique=True, postgresql_where=User.deleted_at.is_(None))
