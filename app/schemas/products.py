"""Products on the wire."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from app.core.enums import ProductSource
from app.core.listing import EQUALITY, ORDER, TEXT, Filterable, Listing
from app.schemas.base import Flag, Id, In, IsNumber, IsWhole, Out, ShortText, unset
from app.schemas.money import MAX_PRICE, Currency, Money, Price, with_money

MAX_STOCK = 1_000_000_000

PRODUCTS = Listing(
    "products",
    filters={
        "sku": Filterable(ShortText, TEXT),
        "name": Filterable(ShortText, TEXT),
        "price": Filterable(Annotated[int, Field(ge=1, le=MAX_PRICE), IsWhole], ORDER),
        "currency": Filterable(Currency, EQUALITY),
        "source": Filterable(ProductSource, EQUALITY),
        "is_active": Filterable(bool, EQUALITY),
    },
    sorts={"id": Id, "name": str, "sku": str},
)


class ProductRead(Out):
    id: int
    sku: str
    name: str
    price: Money
    stock: int
    source: ProductSource
    is_active: bool

    @model_validator(mode="before")
    @classmethod
    def _of_row(cls, source: Any) -> Any:
        return with_money(cls, source, "price", "price")


Stock = Annotated[int, Field(ge=0, le=MAX_STOCK, description="pieces that can be ordered"), IsNumber]


def _short(value: str) -> str:
    if len(value) > 64:
        raise ValueError("must have at most 64 characters")
    return value


Sku = Annotated[ShortText, Field(max_length=64), AfterValidator(_short)]


class ProductCreate(In):
    """`sku` is unique among the products that are not deleted."""

    sku: Sku
    name: ShortText
    price: Price
    stock: Stock = 0
    is_active: Flag = True


class ProductUpdate(In):
    sku: Sku = unset()
    name: ShortText = unset()
    price: Price = unset()
    stock: Stock = unset()
    is_active: Flag = unset()
