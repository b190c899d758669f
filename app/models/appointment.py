"""Appointments. The database itself refuses that two live ones of a doctor overlap."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, literal_column, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import AppointmentStatus
from app.models.base import Created, Versioned, WithId, enum_column, one_of

NO_OVERLAP = "ex_appointments_no_overlap"
LIVE = "status IN ('booked', 'completed')"


class Appointment(WithId, Created, Versioned, Base):
    """A patient's time with a doctor, `[starts_at, ends_at)`. `reminded_at` is set with the job that reminds."""

    __tablename__ = "appointments"
    __table_args__ = (
        CheckConstraint(one_of("status", AppointmentStatus), name="status"),
        CheckConstraint("starts_at < ends_at", name="span"),
        # An int8range of one value stands for "the same doctor" without the btree_gist extension (decision 4).
        ExcludeConstraint(
            (literal_column("int8range(doctor_id, doctor_id, '[]')"), "&&"),
            (literal_column("tstzrange(starts_at, ends_at)"), "&&"),
            name=NO_OVERLAP,
            using="gist",
            where=text(LIVE),
        ),
        Index(None, "doctor_id", "starts_at"),
        Index(None, "patient_id", "starts_at", "id"),
        Index(None, "patient_id", "id"),
        Index(None, "starts_at", "id"),
        Index(
            "ix_appointments_reminder_due",
            "starts_at",
            postgresql_where=text("status = 'booked' AND reminded_at IS NULL"),
        ),
    )

    doctor_id: Mapped[int] = mapped_column(ForeignKey("doctors.id"))
    patient_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    status: Mapped[AppointmentStatus] = mapped_column(
        enum_column(AppointmentStatus), server_default=AppointmentStatus.BOOKED.value, default=AppointmentStatus.BOOKED
    )
    reason: Mapped[str | None] = mapped_column(Text)
    reminded_at: Mapped[datetime | None]
