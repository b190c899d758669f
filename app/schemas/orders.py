"""Orders on the wire."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, model_validator

from app.core.enums import OrderStatus
from app.core.listing import EQUALITY, ORDER, Filterable, Listing
from app.schemas.base import BodyId, Id, In, Instant, IsNumber, Out
from app.schemas.money import Money, with_money

MAX_LINES = 100
MAX_QUANTITY = 1000

ORDERS = Listing(
    "orders",
    filters={
        "status": Filterable(OrderStatus, EQUALITY),
        "patient_id": Filterable(Id, ORDER),
        "created_at": Filterable(Instant, ORDER),
    },
    sorts={"id": Id, "created_at": Instant},
)


class OrderItemRead(Out):
    """`price` of one piece, as it was when the order was placed."""

    product_id: int
    sku: str
    name: str
    quantity: int
    price: Money


class OrderRead(Out):
    id: int
    patient_id: int
    status: OrderStatus
    total: Money
    items: list[OrderItemRead]
    appointment_id: int | None
    created_at: datetime

    @model_validator(mode="before")
    @classmethod
    def _of_row(cls, source: Any) -> Any:
        return with_money(cls, source, "total", "total_amount")


class OrderLine(In):
    product_id: BodyId
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY), IsNumber]


class OrderCreate(In):
    """Lines of one product are added up. All products must have one currency."""

    items: Annotated[list[OrderLine], Field(min_length=1, max_length=MAX_LINES)]
    appointment_id: BodyId | None = Field(default=None, description="one of your own")
