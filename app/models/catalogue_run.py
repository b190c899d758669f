"""Runs over the marketplace's catalogue."""

from datetime import datetime

from sqlalchemy import Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.models.base import Created, WithId


class CatalogueRun(WithId, Created, Base):
    """One walk from the first page to the last, over as many attempts and jobs as it takes.

    `cursor` is where the next page starts, written with the products of the page before. `read_at` is set with the last
    page: only then is it known what the marketplace has no more.
    """

    __tablename__ = "catalogue_runs"
    # Two runs of one vendor at once would take each other's products for gone.
    __table_args__ = (
        Index("uq_catalogue_runs_open", "vendor", unique=True, postgresql_where=text("finished_at IS NULL")),
    )

    vendor: Mapped[str] = mapped_column(Text)
    cursor: Mapped[str] = mapped_column(Text, server_default="")
    pages: Mapped[int] = mapped_column(server_default="0")
    seen: Mapped[int] = mapped_column(server_default="0")
    added: Mapped[int] = mapped_column(server_default="0")
    present: Mapped[int] = mapped_column(server_default="0")
    refused: Mapped[int] = mapped_column(server_default="0")
    withdrawn: Mapped[int] = mapped_column(server_default="0")
    moved_at: Mapped[datetime] = mapped_column(server_default=func.now())
    read_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
