"""The first page: what there is, what was sent, and a stock to change by hand."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.sandbox.checkout import MAX_FORM
from app.sandbox.marketplace import Catalogue, StockChange, change_stock
from app.sandbox.page import page, price_of
from app.sandbox.store import Store

SHOWN = 20
_CONTENT = """<h1>Sandbox</h1>
<p>It plays the payment provider and the marketplace. No money moves, and no product exists.</p>
<h2>Payments</h2>{payments}
<h2>Marketplace</h2>
<p>{products} products. Change the stock of one; the marketplace tells the service by a signed webhook, and its worker
reads the catalogue anew.</p>
<form method="post" class="line">
<label>Product number<input name="product" type="number" min="1" value="{product}" required></label>
<label>Stock<input name="stock" type="number" min="0" value="{stock}" required></label>
<button class="main">Stock changed</button></form>
<h2>Webhooks sent</h2>{webhooks}
<p class="note">Faults on demand: <code>POST /sandbox/faults</code>, as docs/integrations.md has it.</p>"""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> str:
    """`rows` are HTML already."""
    if not rows:
        return f"<p>{nothing}</p>"
    cells = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    head = "".join(f"<th>{one}</th>" for one in heads)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


class HomeRoutes:
    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue
        self.routes = [Route("/", self.show, methods=["GET"]), Route("/", self.change, methods=["POST"])]

    async def show(self, _: Request) -> Response:
        product = min(self._catalogue.products, default=1)
        content = _CONTENT.format(
            payments=self._payments(),
            products=f"{len(self._catalogue.products):,}",
            product=product,
            stock=self._catalogue.products.get(product, {}).get("stock", 0),
            webhooks=self._webhooks(),
        )
        return page("Sandbox", content, width="52rem")

    async def change(self, request: Request) -> Response:
        async with request.form(max_files=0, max_fields=5, max_part_size=MAX_FORM) as form:
            given = dict(form)
        try:
            wanted = StockChange.model_validate(given)
        except ValidationError:
            content = "<h1>A product's number and its stock, please.</h1><p><a href='/'>Back</a></p>"
            return page("Sandbox", content, status=400)
        if change_stock(self._store, self._catalogue, wanted) is None:
            content = "<h1>There is no such product.</h1><p><a href='/'>Back</a></p>"
            return page("Sandbox", content, status=404)
        return RedirectResponse("/", status_code=303)

    def _payments(self) -> str:
        rows = [
            (
                f'<a href="/checkout/{escape(one.payment_id)}">Order {one.order_id}</a>',
                escape(price_of(one)),
                escape(one.status),
            )
            for one in self._store.payments(limit=SHOWN)
        ]
        nothing = "None yet: <code>POST /api/v1/orders/{id}/pay</code> of the service makes one."
        return _table(("Checkout", "Amount", "Status"), rows, nothing)

    def _webhooks(self) -> str:
        rows = [
            (
                escape(one["provider"]),
                escape(str(one["body"].get("type"))),
                escape(_about(one["body"].get("data", {}))),
                f"taken ({escape(one['last'])})" if one["delivered"] else f"waits ({escape(one['last'] or 'new')})",
                str(one["attempts"]),
            )
            for one in self._store.webhooks(limit=SHOWN)
        ]
        return _table(("From", "Type", "About", "State", "Attempts"), rows, "None yet.")


def _about(data: Mapping[str, Any]) -> str:
    return f"{data['offer_id']}, stock {data['stock']}" if "offer_id" in data else f"order {data.get('order_id')}"
