"""The marketplace: its catalogue, page by page."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.config import MarketplaceSettings
from app.core.money import CURRENCIES
from app.integrations.base import PartnerClient, parsed
from app.integrations.circuit_shared import Circuits
from app.integrations.errors import Malformed
from app.integrations.exchange import Reply
from app.integrations.policy import Policy

PAGE_SIZE = 500


class MarketplaceProduct(BaseModel):
    """`price` as the marketplace writes it: a decimal in major units; `amount` is ours.

    A price finer than its currency's minor unit (half a yen) can't be meant: refused, never rounded.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)

    product_id: int
    sku: Annotated[str, Field(alias="offer_id", min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
    name: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
    price: Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=4)]
    currency: Annotated[str, Field(alias="currency_code", pattern=r"^[A-Z]{3}$")]
    stock: Annotated[int, Field(ge=0, le=2**31 - 1)]
    archived: bool = False

    @model_validator(mode="after")
    def _in_whole_units(self) -> Self:
        if self.currency in CURRENCIES and (units := self.price.scaleb(CURRENCIES[self.currency])) != int(units):
            raise PydanticCustomError("price_finer_than_its_currency", "the currency has fewer decimals")
        return self

    @property
    def amount(self) -> int | None:
        """The price in minor units, as many to the major one as ISO 4217 says; None for a currency that it lacks."""
        decimals = CURRENCIES.get(self.currency)
        return None if decimals is None else int(self.price.scaleb(decimals))


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """`cursor` is where the next page starts: a run that dies goes on from the last one it has dealt with."""

    items: tuple[MarketplaceProduct, ...]
    cursor: str
    total: int
    last: bool


class _Listed(BaseModel):
    items: tuple[MarketplaceProduct, ...]
    total: Annotated[int, Field(ge=0)]
    last_id: Annotated[str, Field(max_length=500)] = ""


class _Answer(BaseModel):
    result: _Listed


class MarketplaceClient(PartnerClient):
    vendor = "marketplace"
    policy = Policy(concurrency=4, rate=20, attempts=5, total=60, attempt=15, read=10, max_bytes=2 * 1024 * 1024)

    def __init__(
        self,
        settings: MarketplaceSettings,
        *,
        circuits: Circuits,
        policy: Policy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Api-Key": settings.api_key.get_secret_value()}
        super().__init__(settings.url, circuits=circuits, headers=headers, policy=policy, transport=transport)

    async def page(self, *, cursor: str = "", limit: int = PAGE_SIZE) -> CatalogPage:
        """The products behind `cursor`, at most `limit` (1 to 1000). Raises `PartnerError`."""
        body = {"filter": {"visibility": "ALL"}, "last_id": cursor, "limit": limit}
        return await self.exchange(
            "list",
            "POST",
            "/v2/product/list",
            json=body,
            repeatable=True,
            read=lambda reply: _page(reply, cursor=cursor, limit=limit),
        )

    async def pages(self, *, cursor: str = "", limit: int = PAGE_SIZE) -> AsyncIterator[CatalogPage]:
        """All pages from `cursor` on, one in memory at a time."""
        while True:
            page = await self.page(cursor=cursor, limit=limit)
            yield page
            if page.last:
                return
            cursor = page.cursor


def _page(reply: Reply, *, cursor: str, limit: int) -> CatalogPage:
    found = parsed(reply, _Answer).result
    last = not found.items or not found.last_id
    if len(found.items) > limit or (not last and found.last_id == cursor):
        # Otherwise a partner that repeats itself would keep us busy for ever.
        raise Malformed("the list does not move on", request_id=reply.request_id)
    return CatalogPage(found.items, found.last_id or cursor, found.total, last)
