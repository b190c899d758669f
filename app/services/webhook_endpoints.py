"""Where partners want to be told of events: subscriptions, their secrets, and what was sent."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from app.core.audit import audit, difference
from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import DeliveryStatus
from app.core.errors import Conflict, Invalid, NotFound
from app.core.etag import check_if_match, version_tag
from app.core.jobs import enqueue
from app.core.listing import Page, PageQuery
from app.core.sealing import Sealer
from app.core.wakeup import wake_relay
from app.core.webhook_signatures import new_secret
from app.crud.webhook_deliveries import webhook_deliveries
from app.crud.webhook_endpoints import webhook_endpoints
from app.integrations.public_addresses import (
    AddressPolicy,
    AddressRefused,
    Resolver,
    Unresolvable,
    checked_addresses,
)
from app.models import WebhookEndpoint
from app.schemas.messages.webhooks import RedeliverWebhook
from app.schemas.webhook_endpoints import DeliveryRead, EndpointCreate, EndpointUpdate
from app.services.principal import Principal, require_admin
from app.services.webhook_payload import delivery_read

CHECK_SECONDS = 2.0
SEAL = "webhook-endpoint"
OBJECT = "webhook_endpoint"
OVERLAP = timedelta(hours=24)
"""How long the secret before the present one signs, too."""


@dataclass(frozen=True, slots=True)
class WebhookEndpointService:
    sealer: Sealer
    resolver: Resolver
    policy: AddressPolicy

    async def page(self, read: ReadSession, *, principal: Principal, query: PageQuery) -> Page:
        require_admin(principal)
        return await webhook_endpoints.page(read, query)

    async def get(self, read: ReadSession, *, principal: Principal, endpoint_id: int) -> AnyRow:
        require_admin(principal)
        endpoint = await webhook_endpoints.get(read, endpoint_id)
        if endpoint is None:
            raise NotFound
        return endpoint

    async def create(
        self, session: WriteSession, *, principal: Principal, data: EndpointCreate
    ) -> tuple[WebhookEndpoint, str]:
        """The endpoint and its secret, which is not shown again; Invalid when the URL leads where we don't call."""
        require_admin(principal)
        await self._check(data.url)
        secret = new_secret()
        endpoint = WebhookEndpoint(
            url=data.url,
            events=sorted(set(data.events)),
            secret=self.sealer.seal(SEAL, secret.encode()),
            created_by=principal.id,
        )
        await webhook_endpoints.add(session, endpoint)
        made = {"url": endpoint.url, "events": endpoint.events}
        await audit(session, action="webhook_endpoint.created", object_type=OBJECT, object_id=endpoint.id, changes=made)
        return endpoint, secret

    async def update(
        self,
        session: WriteSession,
        *,
        principal: Principal,
        endpoint_id: int,
        data: EndpointUpdate,
        if_match: str | None,
    ) -> WebhookEndpoint:
        """Change it. When it is turned on again, what has waited for less than three days goes out."""
        require_admin(principal)
        changes: dict[str, Any] = data.model_dump(exclude_unset=True)
        if "url" in changes:
            await self._check(changes["url"])
        if "events" in changes:
            changes["events"] = sorted(set(changes["events"]))
        endpoint = await self._locked(session, endpoint_id, if_match)
        if changes.get("is_active") and not endpoint.is_active:
            changes |= {"disabled_reason": None, "failures": 0, "failing_since": None, "paused_until": None}
            session.after_commit(wake_relay)
        shown = {name: value for name, value in changes.items() if name in ("url", "events", "is_active")}
        if made := difference(endpoint, shown):
            await audit(
                session, action="webhook_endpoint.updated", object_type=OBJECT, object_id=endpoint_id, changes=made
            )
        return await webhook_endpoints.patch(session, endpoint, changes)

    async def delete(
        self, session: WriteSession, *, principal: Principal, endpoint_id: int, if_match: str | None
    ) -> None:
        """Nothing more is sent to it; what was sent stays on record for as long as any delivery does."""
        require_admin(principal)
        await webhook_endpoints.soft_delete(session, await self._locked(session, endpoint_id, if_match))
        await audit(session, action="webhook_endpoint.deleted", object_type=OBJECT, object_id=endpoint_id)

    async def rotate_secret(
        self, session: WriteSession, *, principal: Principal, endpoint_id: int
    ) -> tuple[WebhookEndpoint, str]:
        """The endpoint and its new secret, not shown again; for a day the old one signs beside it."""
        require_admin(principal)
        endpoint, secret = await self._locked(session, endpoint_id, None), new_secret()
        await webhook_endpoints.rotate(
            session, endpoint, secret=self.sealer.seal(SEAL, secret.encode()), overlap=OVERLAP
        )
        await audit(session, action="webhook_endpoint.secret_rotated", object_type=OBJECT, object_id=endpoint_id)
        return endpoint, secret

    async def deliveries(self, read: ReadSession, *, principal: Principal, endpoint_id: int, query: PageQuery) -> Page:
        endpoint = await self.get(read, principal=principal, endpoint_id=endpoint_id)
        page = await webhook_deliveries.page(read, query, where=webhook_deliveries.of_endpoint(endpoint_id))
        return replace(page, rows=[delivery_read(row, url=endpoint.url) for row in page.rows])

    async def delivery(
        self, read: ReadSession, *, principal: Principal, endpoint_id: int, delivery_id: int
    ) -> DeliveryRead:
        endpoint = await self.get(read, principal=principal, endpoint_id=endpoint_id)
        delivery = await webhook_deliveries.get(read, delivery_id, where=webhook_deliveries.of_endpoint(endpoint_id))
        if delivery is None:
            raise NotFound
        return delivery_read(delivery, url=endpoint.url)

    async def request_redelivery(
        self, session: WriteSession, *, principal: Principal, endpoint_id: int, delivery_id: int
    ) -> int:
        """Have it sent once more; the id of the job. Conflict while the endpoint is off."""
        require_admin(principal)
        endpoint = await self._locked(session, endpoint_id, None)
        delivery = await webhook_deliveries.lock(
            session, delivery_id, where=webhook_deliveries.of_endpoint(endpoint_id)
        )
        if delivery is None:
            raise NotFound
        if not endpoint.is_active:
            raise Conflict("The endpoint is off; turn it on first.")
        await audit(session, action="webhook.redelivered", object_type="webhook_delivery", object_id=delivery_id)
        return await enqueue(session, RedeliverWebhook(delivery_id=delivery_id))

    async def redeliver(self, session: WriteSession, *, delivery_id: int) -> dict[str, str]:
        """Make the delivery due now. One that is under way at this moment is left to its outcome."""
        if not await webhook_deliveries.reopen(session, delivery_id):
            return {"skipped": "the delivery is under way, or no longer kept"}
        session.after_commit(wake_relay)
        return {"status": DeliveryStatus.PENDING.value}

    async def _locked(self, session: WriteSession, endpoint_id: int, if_match: str | None) -> WebhookEndpoint:
        endpoint = await webhook_endpoints.lock(session, endpoint_id)
        if endpoint is None:
            raise NotFound
        check_if_match(if_match, version_tag(endpoint.version))
        return endpoint

    async def _check(self, url: str) -> None:
        """Before the first statement: a name's servers may be slow, and no transaction waits for them."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await checked_addresses(
                    self.resolver, self.policy, scheme=parts.scheme, host=parts.hostname or "", port=port
                )
        except AddressRefused as error:
            raise Invalid(str(error), loc=("body", "url"), kind="address_refused") from None
        except (Unresolvable, TimeoutError):
            # It may have a name tomorrow. Every connection is checked anew, so nothing is let through by this.
            return
