"""Signed webhooks as partners send them, for tests."""

import hashlib
import hmac
import json
import time
from typing import Any

from app.core.webhook_signatures import secret_key, sign
from app.services.container import Container


def payment(event_id: str, secret: str, body: bytes, *, at: float | None = None) -> dict[str, str]:
    """The headers of Standard Webhooks over `body`."""
    timestamp = str(int(time.time() if at is None else at))
    signature = sign(secret_key(secret), event_id=event_id.encode(), timestamp=timestamp.encode(), body=body)
    return {"webhook-id": event_id, "webhook-timestamp": timestamp, "webhook-signature": signature.decode()}


def marketplace(event_id: str, secret: str, body: bytes) -> dict[str, str]:
    """The headers of GitHub's form over `body`."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "X-Delivery-ID": event_id}


def payments_secret(container: Container) -> str:
    return container.settings.payments.webhook_secrets[0].get_secret_value()


def marketplace_secret(container: Container) -> str:
    return container.settings.marketplace.webhook_secrets[0].get_secret_value()


def body(kind: str = "payment.succeeded", **data: Any) -> bytes:
    return json.dumps({"type": kind, "data": data}).encode()
