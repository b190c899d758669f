"""Doctors, the hours they publish and the time they are away."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.models.base import Created, SoftDeleted, Versioned, WithId


class Doctor(WithId, Created, SoftDeleted, Versioned, Base):
    """A doctor. `hours`: `{weekday, start, end}` in the clinic's zone, part of the row so that one lock covers them."""

    __tablename__ = "doctors"
    __table_args__ = (
        CheckConstraint("slot_minutes BETWEEN 5 AND 480", name="slot_minutes"),
        CheckConstraint("jsonb_typeof(hours) = 'array'", name="hours"),
        Index(None, "full_name", "id"),
        Index(None, "specialty", "id"),
    )

    full_name: Mapped[str] = mapped_column(Text)
    specialty: Mapped[str] = mapped_column(Text)
    slot_minutes: Mapped[int] = mapped_column(server_default="30", default=30)
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    hours: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"), default=list)
    # `id/version`, the folder that it is stored in; and the job of an upload that is to replace it.
    photo: Mapped[str | None] = mapped_column(Text)
    photo_job_id: Mapped[int | None]


class TimeOff(WithId, Created, Base):
    """A span in which a doctor offers no slots; appointments already booked in it stay until someone moves them."""

    __tablename__ = "time_off"
    __table_args__ = (CheckConstraint("starts_at < ends_at", name="span"), Index(None, "doctor_id", "ends_at"))

    # It is made and deleted, never changed.
    version: ClassVar[int] = 1
    doctor_id: Mapped[int] = mapped_column(ForeignKey("doctors.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    reason: Mapped[str | None] = mapped_column(Text)
