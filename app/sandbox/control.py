"""What a developer and a test may see and do beside the partners' own interfaces."""

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.payments import event, refused
from app.sandbox.store import Store


class _Webhook(BaseModel):
    """`times` deliveries, each with an id of its own, whatever the payment's state says."""

    model_config = ConfigDict(extra="forbid")
    payment_id: str
    type: Literal["payment.succeeded", "payment.failed", "payment.refunded"]
    times: Annotated[int, Field(ge=1, le=1000)] = 1


class ControlRoutes:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.routes = [
            Route("/sandbox/payments", self.payments, methods=["GET"]),
            Route("/sandbox/webhooks", self.webhooks, methods=["GET"]),
            Route("/sandbox/webhooks", self.send, methods=["POST"]),
            Route("/sandbox/state", self.forget, methods=["DELETE"]),
        ]

    async def payments(self, _: Request) -> Response:
        return JSONResponse({"items": [asdict(payment) for payment in self._store.payments()]})

    async def webhooks(self, _: Request) -> Response:
        return JSONResponse({"items": self._store.webhooks()})

    async def send(self, request: Request) -> Response:
        try:
            wanted = _Webhook.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": {"code": "invalid_request", "message": str(error)}}, status_code=400)
        payment = self._store.payment(wanted.payment_id)
        if payment is None:
            return refused(404, "no_such_payment")
        ids = [self._store.post_webhook("payments", event(payment, wanted.type)) for _ in range(wanted.times)]
        return JSONResponse({"ids": ids}, status_code=202)

    async def forget(self, _: Request) -> Response:
        self._store.forget()
        return Response(status_code=204)
