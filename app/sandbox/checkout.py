"""The page on which a client pays, or does not."""

from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.sandbox.page import page, price_of
from app.sandbox.payments import event
from app.sandbox.store import SandboxPayment, Store

_CONTENT = """<h1>Order {order}</h1><strong class="amount" id="amount">{amount}</strong>{rest}
<p class="note">Sandbox: no money moves. Payment {payment}</p>"""
_FORM = """<p>Pay this order?</p><form method="post" class="buttons">
<button class="pay main" name="action" value="pay">Pay</button>
<button class="decline other" name="action" value="decline">Decline</button></form>"""
_ENDED = {
    "succeeded": "Paid. Thank you.",
    "failed": "The payment was declined.",
    "cancelled": "This payment was cancelled.",
    "refunded": "This payment was refunded.",
}
_STEPS = {"pay": ("succeeded", "payment.succeeded"), "decline": ("failed", "payment.failed")}
MAX_FORM = 4096


def _content(payment: SandboxPayment) -> str:
    rest = _FORM
    if payment.status != "pending":
        rest = f'<p id="status">{_ENDED[payment.status]}</p>'
        if payment.return_url:
            rest += f'<p><a href="{escape(payment.return_url)}">Back to the shop</a></p>'
    names = {"order": payment.order_id, "amount": escape(price_of(payment)), "payment": escape(payment.payment_id)}
    return _CONTENT.format(rest=rest, **names)


class CheckoutRoutes:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.routes = [Route("/checkout/{payment_id}", self.page, methods=["GET", "POST"])]

    async def page(self, request: Request) -> Response:
        action = ""
        if request.method == "POST":
            async with request.form(max_files=0, max_fields=5, max_part_size=MAX_FORM) as form:
                action = str(form.get("action", ""))
        payment = self._store.payment(request.path_params["payment_id"])
        if payment is None:
            return page("Checkout", "<h1>There is no such payment.</h1>", status=404)
        if request.method == "GET":
            return page(f"Checkout of order {payment.order_id}", _content(payment))
        if action in _STEPS and payment.status == "pending":
            payment.status, kind = _STEPS[action]
            self._store.save(payment)
            self._store.post_webhook("payments", event(payment, kind))
        # Seen by a GET, so that reloading the page pays nothing.
        return RedirectResponse(request.url, status_code=303)
