"""Signed webhooks, each with an id of its own, as one payment provider sends them."""

import json
import time
from collections.abc import Iterator
from itertools import count

from app.core.webhook_signatures import secret_key, sign

SECRET = "whsec_" + "YmVuY2htYXJr" * 4
PER_SECOND = 6000  # more than anybody takes
BURST = 20_000
_numbers = count(1)


def signed(base: str, host: str, amount: int) -> Iterator[str]:
    """Requests as they go over the wire."""
    key, at = secret_key(SECRET), str(int(time.time()))
    for number, _ in zip(_numbers, range(amount), strict=False):
        event_id = f"evt_{number}"
        data = {"payment_id": f"pay_{number}", "order_id": number, "amount": 1250, "currency": "EUR"}
        body = json.dumps({"type": "payment.succeeded", "data": data})
        signature = sign(key, event_id=event_id.encode(), timestamp=at.encode(), body=body.encode()).decode()
        head = [
            f"POST {base}/webhooks/payments HTTP/1.1",
            f"Host: {host}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"webhook-id: {event_id}",
            f"webhook-timestamp: {at}",
            f"webhook-signature: {signature}",
        ]
        yield "\r\n".join(head) + "\r\n\r\n" + body
