"""The marketplace's API, in the manner of Ozon's: a catalogue in pages behind a cursor, and word of what changes."""

import hmac
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.payments import refused
from app.sandbox.store import Store

PRODUCTS = 10_000
_KINDS = ("Bandage", "Thermometer", "Toothbrush", "Vitamin D", "Compress", "Plaster", "Massage ball", "Pulse oximeter")
_SIZES = ("small", "medium", "large", "family pack")


class _List(BaseModel):
    last_id: str = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


def product(number: int) -> dict[str, Any]:
    """The same product for the same number, always."""
    cents = 199 + number * 7919 % 20_000
    return {
        "product_id": number,
        "offer_id": f"MP-{number:06}",
        "name": f"{_KINDS[number % len(_KINDS)]} {_SIZES[number // 8 % len(_SIZES)]} no. {number}",
        "price": f"{cents // 100}.{cents % 100:02}",
        "currency_code": "EUR",
        "stock": number * 31 % 90,
        "archived": False,
    }


class Catalogue:
    """Kept in memory: a restart brings the generated one back, which is what a test of a synchronisation wants."""

    def __init__(self, size: int = PRODUCTS) -> None:
        self.reset(size)

    def reset(self, size: int = PRODUCTS) -> None:
        self.products = {number: product(number) for number in range(1, size + 1)}

    def page(self, *, after: int, limit: int) -> tuple[list[dict[str, Any]], str]:
        """The next products by id, and the cursor behind them: empty after the last one."""
        ids = sorted(number for number in self.products if number > after)
        found = [self.products[number] for number in ids[:limit]]
        return found, str(found[-1]["product_id"]) if len(ids) > limit else ""


class StockChange(BaseModel):
    product: int
    stock: Annotated[int, Field(ge=0, le=2**31 - 1)]


def change_stock(store: Store, catalogue: Catalogue, wanted: StockChange) -> str | None:
    """Change it and send word of it; the webhook's id, or None when there is no such product."""
    found = catalogue.products.get(wanted.product)
    if found is None:
        return None
    catalogue.products[wanted.product] = found | {"stock": wanted.stock}
    about = {"product_id": wanted.product, "offer_id": found["offer_id"], "stock": wanted.stock}
    return store.post_webhook("marketplace", {"type": "product.stock_changed", "data": about})


class MarketplaceRoutes:
    def __init__(self, catalogue: Catalogue, store: Store, *, api_key: str) -> None:
        self._catalogue = catalogue
        self._store = store
        self._api_key = api_key.encode()
        self.routes = [
            Route("/v2/product/list", self.list, methods=["POST"]),
            Route("/sandbox/catalogue", self.summary, methods=["GET"]),
            Route("/sandbox/catalogue", self.change, methods=["POST"]),
            Route("/sandbox/stock", self.stock, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get("api-key", "").encode(), self._api_key):
            return refused(401, "invalid_key")
        try:
            wanted = _List.model_validate_json(await request.body())
        except ValidationError:
            return refused(400, "invalid_request")
        if wanted.last_id and not (wanted.last_id.isascii() and wanted.last_id.isdecimal()):
            return refused(400, "invalid_last_id")
        items, last_id = self._catalogue.page(after=int(wanted.last_id or 0), limit=wanted.limit)
        return JSONResponse({"result": {"items": items, "total": len(self._catalogue.products), "last_id": last_id}})

    async def summary(self, _: Request) -> Response:
        return JSONResponse({"products": len(self._catalogue.products)})

    async def change(self, request: Request) -> Response:
        """`{"size": n}` generates anew; `{"set": {"7": {"price": "1.00"}}}` changes or adds; `{"remove": [7]}`."""
        try:
            wanted = _Change.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": {"code": "invalid_request", "message": str(error)}}, status_code=400)
        if wanted.size is not None:
            self._catalogue.reset(wanted.size)
        for number, values in wanted.set.items():
            self._catalogue.products[number] = self._catalogue.products.get(number, product(number)) | values
        for number in wanted.remove:
            self._catalogue.products.pop(number, None)
        return await self.summary(request)

    async def stock(self, request: Request) -> Response:
        """`{"product": 7, "stock": 3}`: as the button on the first page."""
        try:
            wanted = StockChange.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": {"code": "invalid_request", "message": str(error)}}, status_code=400)
        webhook_id = change_stock(self._store, self._catalogue, wanted)
        return JSONResponse({"id": webhook_id}, status_code=202) if webhook_id else refused(404, "no_such_product")


class _Change(BaseModel):
    size: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    set: dict[int, dict[str, Any]] = {}
    remove: list[int] = []
