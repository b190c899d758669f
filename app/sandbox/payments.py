"""The payment provider's API: create, get, cancel, refund; idempotent by key, as providers are."""

import hmac
import json
from dataclasses import asdict
from secrets import token_hex
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.store import SandboxPayment, Store

_LONGEST_KEY = 255


class _Create(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: int
    amount: Annotated[int, Field(gt=0)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    return_url: Annotated[str, Field(pattern=r"^https?://")] | None = None


class _Refund(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: Annotated[int, Field(gt=0)]


def refused(status: int, code: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code}}, status_code=status)


def shown(payment: SandboxPayment, request: Request) -> dict[str, Any]:
    return asdict(payment) | {"checkout_url": f"{request.base_url}checkout/{payment.payment_id}"}


def event(payment: SandboxPayment, kind: str) -> dict[str, Any]:
    """What a webhook about the payment says."""
    about = {name: getattr(payment, name) for name in ("payment_id", "order_id", "amount", "currency")}
    return {"type": kind, "data": about}


class PaymentRoutes:
    def __init__(self, store: Store, *, api_key: str) -> None:
        self._store = store
        self._authorization = f"Bearer {api_key}".encode()
        self.routes = [
            Route("/v1/payments", self.create, methods=["POST"]),
            Route("/v1/payments/{payment_id}", self.get, methods=["GET"]),
            Route("/v1/payments/{payment_id}/cancel", self.cancel, methods=["POST"]),
            Route("/v1/payments/{payment_id}/refunds", self.refund, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        return await self._once(request, self._create)

    async def get(self, request: Request) -> Response:
        if not self._known(request):
            return refused(401, "invalid_key")
        payment = self._store.payment(request.path_params["payment_id"])
        return JSONResponse(shown(payment, request)) if payment else refused(404, "no_such_payment")

    async def cancel(self, request: Request) -> Response:
        return await self._once(request, self._cancel)

    async def refund(self, request: Request) -> Response:
        return await self._once(request, self._refund)

    def _known(self, request: Request) -> bool:
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), self._authorization)

    async def _once(self, request: Request, act: Any) -> Response:
        """Check the key, then act, or answer as it was answered the first time. Nothing is awaited in between."""
        if not self._known(request):
            return refused(401, "invalid_key")
        body = await request.body()
        asked = f"{request.url.path}\n{body.decode(errors='replace')}"
        key = request.headers.get("idempotency-key")
        if key is None:
            return act(request, body)  # type: ignore[no-any-return]
        if not 0 < len(key) <= _LONGEST_KEY:
            return refused(400, "invalid_idempotency_key")
        if (kept := self._store.answer(key)) is not None:
            first, status, answer = kept
            if first != asked:
                return refused(422, "idempotency_mismatch")
            return Response(answer, status_code=status, media_type="application/json")
        response = act(request, body)
        if response.status_code < 400:
            self._store.keep_answer(key, asked, response.status_code, response.body.decode())
        return response  # type: ignore[no-any-return]

    def _create(self, request: Request, body: bytes) -> Response:
        try:
            wanted = _Create.model_validate_json(body)
        except ValidationError:
            return refused(400, "invalid_request")
        payment = SandboxPayment(f"pay_{token_hex(10)}", **wanted.model_dump())
        self._store.save(payment)
        return JSONResponse(shown(payment, request), status_code=201)

    def _cancel(self, request: Request, _: bytes) -> Response:
        payment = self._store.payment(request.path_params["payment_id"])
        if payment is None:
            return refused(404, "no_such_payment")
        if payment.status not in {"pending", "cancelled"}:
            return refused(409, "not_cancellable")
        payment.status = "cancelled"
        self._store.save(payment)
        return JSONResponse(shown(payment, request))

    def _refund(self, request: Request, body: bytes) -> Response:
        payment = self._store.payment(request.path_params["payment_id"])
        if payment is None:
            return refused(404, "no_such_payment")
        try:
            amount = _Refund.model_validate_json(body).amount
        except ValidationError:
            return refused(400, "invalid_request")
        if payment.status != "succeeded" or payment.refunded + amount > payment.amount:
            return refused(409, "not_refundable")
        payment.refunded += amount
        if payment.refunded == payment.amount:
            payment.status = "refunded"
            self._store.post_webhook("payments", event(payment, "payment.refunded"))
        self._store.save(payment)
        answer = {"refund_id": f"re_{token_hex(10)}", "payment_id": payment.payment_id, "amount": amount}
        return Response(json.dumps(answer), status_code=201, media_type="application/json")
