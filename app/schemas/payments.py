"""Payments on the wire: what a client gets, and what the provider tells."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.schemas.base import BodyId, Out, storable

MAX_AMOUNT = 2**63 - 1


class PaymentRead(Out):
    payment_id: str = Field(description="as the payment provider calls it")
    checkout_url: str = Field(description="where the customer pays")


class PaymentEventType(StrEnum):
    SUCCEEDED = "payment.succeeded"
    FAILED = "payment.failed"
    REFUNDED = "payment.refunded"


class PaymentEventData(BaseModel):
    """Fields that we do not know are ignored: the provider may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    payment_id: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(storable)]
    order_id: BodyId
    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True)]
    currency: Annotated[str, Field(min_length=3, max_length=3)]


class PaymentEvent(BaseModel):
    """What a webhook of the payment provider says."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: PaymentEventType
    data: PaymentEventData
