"""Objects in storage that nothing refers to yet, or any more (docs/decisions/0040)."""

from datetime import datetime

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.models.base import Created


class TemporaryObject(Created, Base):
    """A key that is swept from storage once it has expired; the row is there before the object is."""

    __tablename__ = "temporary_objects"
    __table_args__ = (Index(None, "expires_at"),)

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    expires_at: Mapped[datetime]
