"""Money on the wire: minor units and a currency."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from app.core.money import CURRENCIES
from app.schemas.base import In, IsNumber, Out

MAX_PRICE = 100_000_000_000
"""Of one piece, in minor units: a hundred lines of a thousand pieces at this price still fit a 64-bit number."""


def _known(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError("must be a currency of ISO 4217, like EUR")
    return value


Currency = Annotated[
    str,
    Field(min_length=3, max_length=3, examples=["EUR"], json_schema_extra={"enum": sorted(CURRENCIES)}),
    AfterValidator(_known),
]
Amount = Annotated[int, Field(ge=1, le=MAX_PRICE, description="in minor units"), IsNumber]


class Money(Out):
    amount: int = Field(description="in minor units", examples=[1250])
    currency: str = Field(description="ISO 4217", examples=["EUR"])


class Price(In):
    """What one piece costs: at least one minor unit."""

    amount: Amount
    currency: Currency


def with_money(model: type[BaseModel], source: Any, field: str, column: str) -> Any:
    """A row's values for `model`, its `column` and `currency` put together as the money that `field` is."""
    if isinstance(source, Mapping | BaseModel):
        return source
    values = {name: getattr(source, name) for name in model.model_fields if name != field}
    return values | {field: {"amount": getattr(source, column), "currency": source.currency}}
