"""Doctors, hours, time off and slots on the wire."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from app.core.enums import PhotoSize
from app.core.listing import EQUALITY, TEXT, Filterable, Listing
from app.schemas.base import Day, Flag, Id, In, IsNumber, LongText, Out, ShortText, Timestamp, unset

MAX_SLOT_DAYS = 62
MAX_HOURS_ROWS = 70

DOCTORS = Listing(
    "doctors",
    filters={
        "specialty": Filterable(ShortText, TEXT),
        "full_name": Filterable(ShortText, TEXT),
        "is_active": Filterable(bool, EQUALITY),
    },
    sorts={"id": Id, "full_name": str, "specialty": str},
)


ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["09:00"])]
EndTime = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", examples=["17:00"])]


class WorkingHours(In):
    """Wall-clock time in the clinic's zone; weekday 0 is Monday, `end` may be 24:00."""

    weekday: Annotated[int, Field(ge=0, le=6), IsNumber]
    start: ClockTime
    end: EndTime

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start must be before end")
        return self


def _apart(hours: list[WorkingHours]) -> list[WorkingHours]:
    ordered = sorted(hours, key=lambda one: (one.weekday, one.start))
    for before, after in pairwise(ordered):
        if before.weekday == after.weekday and after.start < before.end:
            raise ValueError(
                f"hours of weekday {after.weekday} overlap: {before.start}-{before.end}, {after.start}-{after.end}"
            )
    return ordered


WeeklyHours = Annotated[list[WorkingHours], Field(max_length=MAX_HOURS_ROWS), AfterValidator(_apart)]


class Photo(Out):
    """References to where the photo is served, in WebP."""

    small: str
    medium: str
    large: str


def photo_urls(photo: str) -> dict[str, str]:
    """Where each size of a doctor's `id/version` is served."""
    doctor_id, _, version = photo.partition("/")
    return {size.value: f"/api/v1/doctors/{doctor_id}/photo/{size.value}?v={version}" for size in PhotoSize}


def _served(photo: object) -> object:
    return photo_urls(photo) if isinstance(photo, str) else photo


class DoctorRead(Out):
    id: int
    full_name: str
    specialty: str
    slot_minutes: int
    is_active: bool
    photo: Annotated[Photo | None, BeforeValidator(_served)]
    hours: list[WorkingHours]
    created_at: datetime


SlotMinutes = Annotated[int, Field(ge=5, le=480), IsNumber]


class DoctorCreate(In):
    full_name: ShortText
    specialty: ShortText
    slot_minutes: SlotMinutes = 30
    is_active: Flag = True


class DoctorUpdate(In):
    full_name: ShortText = unset()
    specialty: ShortText = unset()
    slot_minutes: SlotMinutes = unset()
    is_active: Flag = unset()


class TimeOffCreate(In):
    """A time without an offset is read in the clinic's zone."""

    starts_at: Timestamp
    ends_at: Timestamp
    reason: LongText | None = None


class TimeOffRead(Out):
    id: int
    doctor_id: int
    starts_at: datetime
    ends_at: datetime
    reason: str | None
    created_at: datetime


class TimeOffList(Out):
    items: list[TimeOffRead]


class SlotsQuery(In):
    """Days in the clinic's zone; `to` is exclusive."""

    from_: Day = Field(alias="from", examples=["2026-12-01"])
    to: Day = Field(description=f"exclusive; at most {MAX_SLOT_DAYS} days after `from`", examples=["2026-12-08"])

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not timedelta(0) < self.to - self.from_ <= timedelta(days=MAX_SLOT_DAYS):
            raise ValueError(f"to must be after from, by at most {MAX_SLOT_DAYS} days")
        return self


class Slot(Out):
    starts_at: datetime
    ends_at: datetime


class SlotList(Out):
    items: list[Slot]
