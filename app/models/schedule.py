"""When each schedule fires next (core/schedules.py)."""

from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base


class ScheduleState(Base):
    """One row a schedule; `next_run_at` moves by compare-and-set, in the transaction that enqueues its job."""

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    cron: Mapped[str] = mapped_column(Text)
    timezone: Mapped[str] = mapped_column(Text)
    next_run_at: Mapped[datetime]
    last_run_at: Mapped[datetime | None]
    last_job_id: Mapped[int | None]
