"""Webhooks from partners: verified, stored, answered; handled in the background."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json
from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.core.audit import audit
from app.core.batching import Batcher
from app.core.context import current_cause
from app.core.database import ANSWER_WITHIN, Database, ReadSession, WriteSession
from app.core.enums import WebhookProvider, WebhookStatus
from app.core.errors import Invalid, InvalidSignature, NotFound
from app.core.jobs import enqueue
from app.core.listing import Page, PageQuery
from app.core.metrics import WEBHOOKS_HANDLED, WEBHOOKS_RECEIVED
from app.core.webhook_signatures import GitHubVerifier, Headers, StandardVerifier, Verifier
from app.crud.webhook_events import Incoming, webhook_events
from app.schemas.messages.webhooks import HandleWebhook
from app.services.principal import Principal, require_admin
from app.services.webhook_appliers import apply_catalogue_change, apply_payment

MAX_TYPE = 200
# Beyond the sender's identity and the signature: what helps to understand an event later.
KEPT_HEADERS = frozenset({b"content-type", b"user-agent", b"webhook-id", b"webhook-timestamp", b"x-delivery-id"})
MAX_HEADER = 300
ROW_WEIGHT = 1024
BATCH_BYTES, WAITING_BYTES = 2 * 1024 * 1024, 32 * 1024 * 1024

Applier = Callable[[WriteSession, str, Any], Awaitable[bool]]
"""Acts on one provider's event of a type and body; False when the type means nothing to it, ValueError or
ValidationError when the body makes no sense. It may be called again, and in any order."""


APPLIERS: Mapping[str, Applier] = {
    WebhookProvider.PAYMENTS: apply_payment,
    WebhookProvider.MARKETPLACE: apply_catalogue_change,
}


class WebhookInbox:
    """`verifiers` and `appliers` by provider; a provider without an applier has its events kept and ignored."""

    def __init__(self, database: Database, verifiers: Mapping[str, Verifier], appliers: Mapping[str, Applier]) -> None:
        self._database = database
        self._verifiers = verifiers
        self._appliers = appliers
        outcomes = product(verifiers, ("stored", "refused", "malformed", "failed"))
        self._received = {of: WEBHOOKS_RECEIVED.labels(*of) for of in outcomes}
        self._batcher: Batcher[Incoming, None] = Batcher(
            self._store, weigh=lambda event: ROW_WEIGHT + len(event.body), batch=BATCH_BYTES, waiting=WAITING_BYTES
        )

    def verifier(self, provider: str) -> Verifier:
        verifier = self._verifiers.get(provider)
        if verifier is None:
            raise NotFound("There is no such provider.")
        return verifier

    async def receive(self, *, provider: str, headers: Headers, body: bytes) -> str:
        """The sender's id of the event, once it is committed together with its job. A known id changes nothing."""
        verifier, outcome = self.verifier(provider), "failed"
        try:
            event_id = await self._receive(provider, verifier.verify(headers, body), headers, body)
            outcome = "stored"
        except InvalidSignature:
            outcome = "refused"
            raise
        except Invalid:
            outcome = "malformed"
            raise
        finally:
            self._received[provider, outcome].inc()
        return event_id

    async def _receive(self, provider: str, event_id: str, headers: Headers, body: bytes) -> str:
        cause = current_cause()
        event = Incoming(
            provider=provider,
            event_id=event_id,
            type=_type_of(_parsed(body)),
            headers=_kept(headers),
            body=body,
            request_id=cause.request_id,
            traceparent=cause.traceparent,
        )
        await self._batcher.add(event, patience=ANSWER_WITHIN)
        return event_id

    async def handle(self, session: WriteSession, *, event_id: int) -> dict[str, str]:
        """Act on a stored event, and note the outcome in the same transaction."""
        event = await webhook_events.lock(session, event_id)
        if event is None:
            return {"skipped": "the event is no longer kept"}
        applier, status, error = self._appliers.get(event.provider.value), WebhookStatus.IGNORED, None
        if applier is not None and event.type is not None:
            try:
                async with session.begin_nested():
                    if await applier(session, event.type, from_json(event.body)):
                        status = WebhookStatus.HANDLED
            except (ValidationError, ValueError) as fault:
                # It will make no more sense the next time: kept for people to look at, not tried again.
                status, error = WebhookStatus.FAILED, _said(fault)
        await webhook_events.settle(session, event, status=status, error=error)
        session.after_commit(WEBHOOKS_HANDLED.labels(event.provider.value, status.value).inc)
        return {"status": status.value}

    async def page(self, read: ReadSession, *, principal: Principal, query: PageQuery) -> Page:
        require_admin(principal)
        return await webhook_events.page(read, query)

    async def get(self, read: ReadSession, *, principal: Principal, event_id: int) -> dict[str, Any]:
        require_admin(principal)
        event = await webhook_events.with_body(read, event_id)
        if event is None:
            raise NotFound
        return dict(event._mapping) | {"body": from_json(event.body)}

    async def replay(self, session: WriteSession, *, principal: Principal, event_id: int) -> int:
        """Have the event handled once more; the id of the job."""
        require_admin(principal)
        if await webhook_events.lock(session, event_id) is None:
            raise NotFound
        await audit(session, action="webhook.replayed", object_type="webhook_event", object_id=event_id)
        job_id = await enqueue(session, HandleWebhook(event_id=event_id))
        await webhook_events.reopen(session, event_id, job_id=job_id)
        return job_id

    async def _store(self, events: Sequence[Incoming]) -> Sequence[None]:
        async with asyncio.timeout(ANSWER_WITHIN):
            try:
                await webhook_events.store(self._database.single, events, message=HandleWebhook)
            except DBAPIError as error:
                # A pooled connection that died while idle: whatever it has stored is not stored twice.
                if not error.connection_invalidated:
                    raise
                await webhook_events.store(self._database.single, events, message=HandleWebhook)
        return [None] * len(events)


def make_inbox(settings: Settings, database: Database) -> WebhookInbox:
    """With the verifiers and the appliers of every partner."""
    secrets = {
        WebhookProvider.PAYMENTS: settings.payments.webhook_secrets,
        WebhookProvider.MARKETPLACE: settings.marketplace.webhook_secrets,
    }
    plain = {provider: [secret.get_secret_value() for secret in found] for provider, found in secrets.items()}
    verifiers: dict[str, Verifier] = {
        WebhookProvider.PAYMENTS: StandardVerifier(plain[WebhookProvider.PAYMENTS]),
        WebhookProvider.MARKETPLACE: GitHubVerifier(plain[WebhookProvider.MARKETPLACE]),
    }
    return WebhookInbox(database, verifiers, appliers=APPLIERS)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise Invalid("must be a JSON object", loc=("body",), kind="json_invalid")
    return parsed


def _type_of(parsed: Mapping[str, Any]) -> str | None:
    kind = parsed.get("type")
    fits = isinstance(kind, str) and 0 < len(kind) <= MAX_TYPE and kind.isascii() and kind.isprintable()
    return kind if fits else None


def _kept(headers: Headers) -> str:
    kept = [(name, value) for name, value in headers if name in KEPT_HEADERS]
    return json.dumps({name.decode(): value[:MAX_HEADER].decode("ascii", "replace") for name, value in kept})


def _said(fault: ValueError) -> str:
    if isinstance(fault, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in fault.errors()[:5])[:1000]
    return str(fault)[:1000]
