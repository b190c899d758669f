"""Reports: what may be asked for, and the data that the service gathers and the documents show."""

from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from app.schemas.base import Day, In

MAX_REPORT_DAYS = 366


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise ValueError(f"unknown time zone: {name!r}") from error
    return name


class _Minutes(BaseModel):
    """Time that could be booked, and time that was; both in minutes."""

    model_config = ConfigDict(frozen=True)

    available_minutes: NonNegativeInt
    booked_minutes: NonNegativeInt

    @property
    def utilisation(self) -> float:
        """Booked over available: 0.75 is three quarters, and 0 when nothing was available. It passes 1 where
        appointments stand outside of the hours, as after these were shortened.
        """
        return self.booked_minutes / self.available_minutes if self.available_minutes else 0.0


class DoctorUtilisation(_Minutes):
    """One doctor over the whole period; `appointments` counts every status."""

    doctor_id: int
    full_name: str
    specialty: str
    appointments: NonNegativeInt
    completed: NonNegativeInt
    cancelled: NonNegativeInt
    no_show: NonNegativeInt


class DayUtilisation(_Minutes):
    """All doctors over one day of the clinic's zone."""

    day: date


class UtilisationReport(BaseModel):
    """How much of the clinic's time was used.

    Days are the clinic's own, `to_day` is exclusive; a day that is not listed had nothing available and nothing booked.
    """

    model_config = ConfigDict(frozen=True)

    clinic_name: str
    timezone: Annotated[str, AfterValidator(_known_zone)]
    from_day: date
    to_day: date
    generated_at: AwareDatetime
    doctors: list[DoctorUtilisation]
    days: list[DayUtilisation]

    @model_validator(mode="after")
    def _in_order(self) -> "UtilisationReport":
        if self.to_day < self.from_day:
            raise ValueError("to_day lies before from_day")
        return self

    @property
    def available_minutes(self) -> int:
        return sum(doctor.available_minutes for doctor in self.doctors)

    @property
    def booked_minutes(self) -> int:
        return sum(doctor.booked_minutes for doctor in self.doctors)

    @property
    def utilisation(self) -> float:
        """Of all doctors together; 0 when nothing was available."""
        return self.booked_minutes / self.available_minutes if self.available_minutes else 0.0

    @property
    def appointments(self) -> int:
        return sum(doctor.appointments for doctor in self.doctors)

    @property
    def completed(self) -> int:
        return sum(doctor.completed for doctor in self.doctors)

    @property
    def cancelled(self) -> int:
        return sum(doctor.cancelled for doctor in self.doctors)

    @property
    def no_show(self) -> int:
        return sum(doctor.no_show for doctor in self.doctors)


class DayRevenue(BaseModel):
    """What was paid on one day of the clinic's zone in one currency; amounts in its minor units."""

    model_config = ConfigDict(frozen=True)

    day: date
    currency: str
    orders: NonNegativeInt
    gross: NonNegativeInt
    refunded: NonNegativeInt
    """Of `gross`, what was given back since."""

    @property
    def net(self) -> int:
        return self.gross - self.refunded


class RevenueReport(BaseModel):
    """Orders by the day on which they were paid. Currencies are never added up."""

    model_config = ConfigDict(frozen=True)

    clinic_name: str
    timezone: Annotated[str, AfterValidator(_known_zone)]
    from_day: date
    to_day: date
    generated_at: AwareDatetime
    days: list[DayRevenue]

    @property
    def orders(self) -> int:
        return sum(day.orders for day in self.days)

    @property
    def totals(self) -> list[DayRevenue]:
        """One for each currency, over all days, as of the first."""
        return [
            DayRevenue(
                day=self.from_day,
                currency=currency,
                orders=sum(day.orders for day in self.days if day.currency == currency),
                gross=sum(day.gross for day in self.days if day.currency == currency),
                refunded=sum(day.refunded for day in self.days if day.currency == currency),
            )
            for currency in sorted({day.currency for day in self.days})
        ]


class ReportKind(StrEnum):
    UTILISATION = "utilisation"
    REVENUE = "revenue"


class ReportFormat(StrEnum):
    PDF = "pdf"
    XLSX = "xlsx"
    CSV = "csv"


MEDIA_TYPES = {
    ReportFormat.PDF: "application/pdf",
    ReportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ReportFormat.CSV: "text/csv; charset=utf-8",
}


class ReportCreate(In):
    """Days in the clinic's zone; `to` is exclusive."""

    kind: ReportKind
    from_: Day = Field(alias="from", examples=["2026-12-01"])
    to: Day = Field(description=f"exclusive; at most {MAX_REPORT_DAYS} days after `from`", examples=["2027-01-01"])
    format: ReportFormat

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not timedelta(0) < self.to - self.from_ <= timedelta(days=MAX_REPORT_DAYS):
            raise ValueError(f"to must be after from, by at most {MAX_REPORT_DAYS} days")
        return self
