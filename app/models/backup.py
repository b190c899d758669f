"""Backups of this database that are complete."""

from datetime import datetime

from sqlalchemy import Index, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.models.base import WithId


class Backup(WithId, Base):
    """One backup, written when it is whole; the store has the truth of it, this is what the alert looks at."""

    __tablename__ = "backups"
    __table_args__ = (Index(None, "taken_at"),)

    name: Mapped[str] = mapped_column(Text, unique=True)
    taken_at: Mapped[datetime]
    finished_at: Mapped[datetime] = mapped_column(server_default=func.now())
    size: Mapped[int]
    verified_at: Mapped[datetime | None]
