"""The payment provider: payments that a client pays on the provider's own page."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field

from app.config import PaymentsSettings
from app.integrations.base import PartnerClient
from app.integrations.circuit_shared import Circuits
from app.integrations.policy import Policy

ProviderId = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
Amount = Annotated[int, Field(ge=0)]


class PaymentStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Payment(_Answer):
    """`amount` in minor units; `refunded` of it went back."""

    payment_id: ProviderId
    order_id: int
    status: PaymentStatus
    amount: Amount
    refunded: Amount = 0
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    checkout_url: Annotated[str, Field(pattern=r"^https?://", max_length=2000)]


class Refund(_Answer):
    refund_id: ProviderId
    payment_id: ProviderId
    amount: Amount


class PaymentsClient(PartnerClient):
    """An idempotency key names what is wanted once: the same key gives the same payment, however often it is sent.

    Raises `PartnerError`; of those, `Rejected` will not get better by itself.
    """

    vendor = "payments"
    policy = Policy(concurrency=32)

    def __init__(
        self,
        settings: PaymentsSettings,
        *,
        circuits: Circuits,
        policy: Policy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
        super().__init__(settings.url, circuits=circuits, headers=headers, policy=policy, transport=transport)

    async def create(
        self, *, order_id: int, amount: int, currency: str, idempotency_key: str, return_url: str | None = None
    ) -> Payment:
        """A payment that waits for its client at `checkout_url`."""
        body: dict[str, Any] = {"order_id": order_id, "amount": amount, "currency": currency}
        if return_url is not None:
            body["return_url"] = return_url
        return await self.call(
            "create", "POST", "/v1/payments", json=body, idempotency_key=idempotency_key, answer=Payment
        )

    async def get(self, payment_id: str) -> Payment:
        return await self.call("get", "GET", _path(payment_id), answer=Payment)

    async def cancel(self, payment_id: str, *, idempotency_key: str) -> Payment:
        """Nobody can pay it any more. One that is no longer pending is `Rejected`, `partner_code` `not_cancellable`."""
        path = f"{_path(payment_id)}/cancel"
        return await self.call("cancel", "POST", path, idempotency_key=idempotency_key, answer=Payment)

    async def refund(self, payment_id: str, *, amount: int, idempotency_key: str) -> Refund:
        """Give `amount` back. More than was paid is `Rejected`, `partner_code` `not_refundable`."""
        path, body = f"{_path(payment_id)}/refunds", {"amount": amount}
        return await self.call("refund", "POST", path, json=body, idempotency_key=idempotency_key, answer=Refund)


def _path(payment_id: str) -> str:
    return f"/v1/payments/{quote(payment_id, safe='')}"
