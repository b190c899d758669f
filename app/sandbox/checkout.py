"""The page on which a client pays, or does not."""

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.sandbox.payments import event
from app.sandbox.store import SandboxPayment, Store

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Checkout</title><style>
body{{font:16px/1.5 system-ui,sans-serif;background:#f3f5f8;color:#1c2430;margin:0;display:grid;min-height:100vh;
place-items:center}}
main{{background:#fff;padding:2rem 2.5rem;border-radius:12px;box-shadow:0 4px 24px #0001;min-width:20rem}}
h1{{font-size:1.1rem;margin:0 0 1rem}}strong{{font-size:2rem;display:block}}p{{color:#5a6675}}
button{{font:inherit;border:0;border-radius:8px;padding:.7rem 1.4rem;cursor:pointer}}
.pay{{background:#1769e0;color:#fff}}.decline{{background:#e8ebf0}}small{{color:#8a94a3}}
</style></head><body><main><h1>Order {order}</h1><strong id="amount">{amount}</strong>{rest}
<p><small>Sandbox: no money moves. Payment {payment}</small></p></main></body></html>"""
_FORM = """<p>Pay this order?</p><form method="post">
<button class="pay" name="action" value="pay">Pay</button>
<button class="decline" name="action" value="decline">Decline</button></form>"""
_ENDED = {
    "succeeded": "Paid. Thank you.",
    "failed": "The payment was declined.",
    "cancelled": "This payment was cancelled.",
    "refunded": "This payment was refunded.",
}
_STEPS = {"pay": ("succeeded", "payment.succeeded"), "decline": ("failed", "payment.failed")}
_MAX_FORM = 4096


def _page(payment: SandboxPayment) -> str:
    rest = _FORM
    if payment.status != "pending":
        rest = f'<p id="status">{_ENDED[payment.status]}</p>'
        if payment.return_url:
            rest += f'<p><a href="{escape(payment.return_url)}">Back to the shop</a></p>'
    amount = f"{payment.amount // 100}.{payment.amount % 100:02} {payment.currency}"
    return _PAGE.format(order=payment.order_id, amount=escape(amount), rest=rest, payment=escape(payment.payment_id))


class CheckoutRoutes:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.routes = [Route("/checkout/{payment_id}", self.page, methods=["GET", "POST"])]

    async def page(self, request: Request) -> Response:
        action = ""
        if request.method == "POST":
            async with request.form(max_files=0, max_fields=5, max_part_size=_MAX_FORM) as form:
                action = str(form.get("action", ""))
        payment = self._store.payment(request.path_params["payment_id"])
        if payment is None:
            return HTMLResponse("<h1>There is no such payment.</h1>", status_code=404)
        if request.method == "GET":
            return HTMLResponse(_page(payment))
        if action in _STEPS and payment.status == "pending":
            payment.status, kind = _STEPS[action]
            self._store.save(payment)
            self._store.post_webhook(event(payment, kind))
        # Seen by a GET, so that reloading the page pays nothing.
        return RedirectResponse(request.url, status_code=303)
