"""Webhooks to partners, for tests: the service with 127.0.0.1 allowed, and what its deliverer does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from app.core.sealing import Sealer
from app.integrations.public_addresses import AddressPolicy, SystemResolver
from app.integrations.webhook_sender import WebhookSender
from app.services.container import Container
from app.services.webhook_delivery import WebhookDeliveryService
from app.services.webhook_endpoints import WebhookEndpointService
from tests.support import API, Person, World

ENDPOINTS = f"{API}/webhook-endpoints"


@asynccontextmanager
async def allowing_here(container: Container) -> AsyncIterator[Container]:
    """The container with WEBHOOKS_ALLOW_PRIVATE=127.0.0.1."""
    sealer, resolver = Sealer(container.settings.auth), SystemResolver()
    policy = AddressPolicy(["127.0.0.1"])
    sender = WebhookSender(resolver, policy)
    yield replace(
        container,
        webhook_endpoints=WebhookEndpointService(sealer, resolver, policy),
        deliveries=WebhookDeliveryService(container.database, sealer, sender),
    )
    resolver.close()


@dataclass
class Outgoing:
    """An admin who subscribes partners, and a deliverer that works when it is told to."""

    container: Container
    world: World
    client: httpx.AsyncClient
    admin: Person

    async def subscribe(self, url: str, *events: str) -> dict[str, Any]:
        """The endpoint with its secret."""
        body = {"url": url, "events": events or ["appointment.booked", "appointment.rescheduled", "user.registered"]}
        answer = await self.client.post(ENDPOINTS, json=body, headers=self.admin.headers)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def register(self, email: str) -> None:
        """Make a user.registered happen."""
        data = {"email": email, "password": "correct horse battery", "full_name": "Pat Ient"}
        assert (await self.client.post(f"{API}/auth/register", json=data)).status_code == 202

    async def deliver(self, *, everything: bool = False) -> int:
        """Send what is due until nothing is, as the deliverer would; `everything`: as if all waiting were over."""
        attempts = 0
        while True:
            if everything:
                await self.world.execute(
                    "UPDATE webhook_deliveries SET next_attempt_at = now(), leased_until = NULL"
                    " WHERE status = 'pending'"
                )
                await self.world.execute("UPDATE webhook_endpoints SET paused_until = NULL")
            claimed = await self.container.deliveries.claim(limit=50, failing_limit=50, per_endpoint=2)
            if not claimed:
                return attempts
            sent = await asyncio.gather(*(self.container.deliveries.send(one) for one in claimed))
            await self.container.deliveries.settle(sent)
            attempts += len(sent)
            if everything:
                return attempts

    async def rows(self) -> Sequence[Any]:
        return await self.world.rows("SELECT * FROM webhook_deliveries ORDER BY id")

    async def get(self, path: str) -> Any:
        answer = await self.client.get(f"{ENDPOINTS}/{path}", headers=self.admin.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()
