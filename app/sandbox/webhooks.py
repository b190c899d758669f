"""The partners' webhooks: signed as each of them signs, sent until they are taken."""

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook as Webhooks

from app.core.logging import get_logger
from app.sandbox.store import Store, Webhook

log = get_logger(__name__)
POLL_SECONDS = 0.1
LONGEST_WAIT = 30.0
Signer = Callable[[Webhook], Mapping[str, str]]
"""The headers that name and sign a webhook."""


def standard(secret: str) -> Signer:
    """By Standard Webhooks, as payment providers do."""
    key = Webhooks(secret)

    def headers(webhook: Webhook) -> Mapping[str, str]:
        now = datetime.now(UTC)
        return {
            "webhook-id": webhook.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": key.sign(webhook.id, now, webhook.body),
        }

    return headers


def github(secret: str) -> Signer:
    """GitHub's way, as the marketplace does."""

    def headers(webhook: Webhook) -> Mapping[str, str]:
        digest = hmac.digest(secret.encode(), webhook.body.encode(), "sha256")
        return {"x-delivery-id": webhook.id, "x-hub-signature-256": f"sha256={digest.hex()}"}

    return headers


class WebhookSender:
    """Delivers what is due, in turn, to `url`/PROVIDER."""

    def __init__(self, store: Store, *, url: str, signers: Mapping[str, Signer], first_wait: float = 0.5) -> None:
        self._store = store
        self._url = url
        self._signers = signers
        self._first_wait = first_wait

    async def run(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while True:
                for webhook in self._store.due_webhooks():
                    await self._deliver(client, webhook)
                await asyncio.sleep(POLL_SECONDS)

    async def _deliver(self, client: httpx.AsyncClient, webhook: Webhook) -> None:
        try:
            headers = {"content-type": "application/json", **self._signers[webhook.provider](webhook)}
            response = await client.post(f"{self._url}/{webhook.provider}", content=webhook.body, headers=headers)
            said, delivered = str(response.status_code), response.is_success
        except httpx.HTTPError as error:
            said, delivered = type(error).__name__, False
        again_in = min(LONGEST_WAIT, self._first_wait * 2**webhook.attempts)
        self._store.note_webhook(webhook.id, delivered=delivered, said=said, again_in=again_in)
        kind = json.loads(webhook.body).get("type")
        log.info("webhook", webhook=webhook.id, type=kind, answered=said, again_in=None if delivered else again_in)
