"""What a clinic asks of its partners: referrals, insurance, laboratory. Who answers is in the files beside it."""

from datetime import date, datetime
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=500)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class ReferralDoctor(_Answer):
    id: Annotated[str, Field(min_length=1, max_length=100)]
    name: Text
    specialty: Text
    city: Text
    accepts_referrals: Annotated[bool, Field(alias="acceptsReferrals")]


class Eligibility(_Answer):
    """`copay` in minor units of `currency`."""

    eligible: bool
    plan: Text | None = None
    copay: Annotated[int, Field(ge=0)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    valid_until: date | None = None


class LabResult(_Answer):
    test: Text
    value: float
    unit: Text
    abnormal: bool
    taken_at: datetime


class Directory(Protocol):
    async def search(self, *, specialty: str, city: str | None = None, limit: int = 20) -> list[ReferralDoctor]:
        """Doctors of the partner clinics. Raises `PartnerError`."""
        ...

    async def close(self) -> None: ...


class Insurer(Protocol):
    async def check(self, *, member_number: str, day: date, service_code: str) -> Eligibility:
        """Whether the insurer pays for the service on that day. An unknown member is `Rejected`."""
        ...

    async def close(self) -> None: ...


class Laboratory(Protocol):
    async def results(self, *, order_number: str) -> list[LabResult]:
        """What the laboratory has found. An unknown order is `Rejected`; one not finished is an empty list."""
        ...

    async def close(self) -> None: ...
