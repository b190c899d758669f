"""What a webhook says, the same for every attempt."""

import json
from datetime import UTC
from typing import Any

from app.core.database import AnyRow
from app.schemas.webhook_endpoints import DeliveryRead, DeliveryRequest, DeliveryResponse

USER_AGENT = "Frontdesk-Webhooks/1"


def message_id(delivery: AnyRow) -> str:
    """The `webhook-id`: one for all attempts and redeliveries, so that the receiver can tell."""
    return f"msg_{delivery.message_id.hex}"


def said(delivery: AnyRow) -> dict[str, Any]:
    at = delivery.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {"type": delivery.event, "timestamp": at, "data": delivery.payload}


def body_of(delivery: AnyRow) -> bytes:
    return json.dumps(said(delivery), separators=(",", ":"), ensure_ascii=False).encode()


def headers_of(delivery: AnyRow) -> dict[str, str]:
    """Without timestamp and signature, which are new for each attempt."""
    return {"Content-Type": "application/json", "User-Agent": USER_AGENT, "webhook-id": message_id(delivery)}


def delivery_read(row: AnyRow, *, url: str) -> DeliveryRead:
    """The delivery as admins see it."""
    values = dict(row._mapping)
    values["request"] = DeliveryRequest(url=url, headers=headers_of(row), body=said(row))
    values["response"] = None
    if row.response_status is not None:
        values["response"] = DeliveryResponse(status=row.response_status, body=row.response_body or "")
    if row.finished_at is not None:
        values["next_attempt_at"] = None
    return DeliveryRead.model_validate(values)
