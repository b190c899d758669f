"""The provider's webhooks: signed by Standard Webhooks, sent until they are taken."""

import asyncio
import json
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook as Signer

from app.core.logging import get_logger
from app.sandbox.store import Store, Webhook

log = get_logger(__name__)
POLL_SECONDS = 0.1
LONGEST_WAIT = 30.0


class WebhookSender:
    """Delivers what is due, in turn, to one address."""

    def __init__(self, store: Store, *, url: str, secret: str, first_wait: float = 0.5) -> None:
        self._store = store
        self._url = url
        self._secret = secret
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
            response = await client.post(self._url, content=webhook.body, headers=self._signed(webhook))
            said, delivered = str(response.status_code), response.is_success
        except httpx.HTTPError as error:
            said, delivered = type(error).__name__, False
        again_in = min(LONGEST_WAIT, self._first_wait * 2**webhook.attempts)
        self._store.note_webhook(webhook.id, delivered=delivered, said=said, again_in=again_in)
        kind = json.loads(webhook.body).get("type")
        log.info("webhook", webhook=webhook.id, type=kind, answered=said, again_in=None if delivered else again_in)

    def _signed(self, webhook: Webhook) -> dict[str, str]:
        now = datetime.now(UTC)
        return {
            "content-type": "application/json",
            "webhook-id": webhook.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Signer(self._secret).sign(webhook.id, now, webhook.body),
        }
