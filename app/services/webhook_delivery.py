"""Sending webhooks: claim what is due, send each, note the outcomes; no transaction is open while something is sent."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from time import time

from app.core.database import AnyRow, Database
from app.core.enums import DeliveryStatus
from app.core.jobs import Retry, enqueue_many
from app.core.sealing import SealBroken, Sealer
from app.core.webhook_signatures import secret_key, sign
from app.crud.webhook_deliveries import Settled, webhook_deliveries
from app.crud.webhook_endpoints import Health, webhook_endpoints
from app.integrations.webhook_sender import Outcome, WebhookSender
from app.schemas.messages.mails import SendEndpointDisabledMail
from app.services.webhook_endpoints import SEAL
from app.services.webhook_payload import body_of, headers_of, message_id

RETRY = Retry(base=5, cap=8 * 3600)
"""5 s, 10 s, 20 s … 8 h, each shortened at random by up to a half, until the delivery is three days old."""
SECONDS, FAILING_SECONDS = 10.0, 5.0
"""Longest wait for an answer; an endpoint whose last attempt failed gets less patience."""
LEASE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt with its outcome."""

    delivery: AnyRow
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class WebhookDeliveryService:
    database: Database
    sealer: Sealer
    sender: WebhookSender

    async def claim(self, *, limit: int, failing_limit: int, per_endpoint: int) -> Sequence[AnyRow]:
        """Due deliveries, ours for LEASE_SECONDS."""
        if not await webhook_deliveries.is_due(self.database.read):
            # One look, where a claim is a transaction in which relays take turns.
            return []
        async with self.database.session_scope() as session:
            return await webhook_deliveries.claim(
                session,
                limit=limit,
                failing_limit=failing_limit,
                per_endpoint=per_endpoint,
                lease_seconds=LEASE_SECONDS,
            )

    async def send(self, delivery: AnyRow) -> Sent:
        """One attempt: the same id and body each time, a fresh timestamp, a signature for each live secret."""
        body, timestamp = body_of(delivery), str(int(time()))
        try:
            keys = [
                secret_key(self.sealer.open(SEAL, sealed).decode())
                for sealed in (delivery.secret, delivery.previous_secret)
                if sealed is not None
            ]
        except SealBroken:
            return Sent(delivery, Outcome(None, None, "the secret can't be opened: rotate it", 0))
        event_id = message_id(delivery)
        signatures = (sign(key, event_id=event_id.encode(), timestamp=timestamp.encode(), body=body) for key in keys)
        headers = headers_of(delivery) | {
            "webhook-timestamp": timestamp,
            "webhook-signature": b" ".join(signatures).decode(),
        }
        seconds = FAILING_SECONDS if delivery.failures else SECONDS
        return Sent(delivery, await self.sender.send(delivery.url, headers=headers, body=body, seconds=seconds))

    async def settle(self, sent: Sequence[Sent]) -> None:
        """Note the outcomes of attempts, and what they say of their endpoints; owners of those disabled get a mail."""
        async with self.database.session_scope() as session:
            kept = {row.id for row in await webhook_deliveries.settle(session, [_settled(one) for one in sent])}
            disabled = await webhook_endpoints.note_health(
                session, _health([one for one in sent if one.delivery.id in kept])
            )
            await enqueue_many(session, [SendEndpointDisabledMail(endpoint_id=row.id) for row in disabled])

    async def expire(self) -> None:
        async with self.database.session_scope() as session:
            await webhook_deliveries.expire(session)


def _settled(sent: Sent) -> Settled:
    delivery, outcome = sent.delivery, sent.outcome
    status = DeliveryStatus.PENDING
    if outcome.succeeded:
        status = DeliveryStatus.SUCCEEDED
    elif outcome.gone:
        status = DeliveryStatus.FAILED
    return Settled(
        id=delivery.id,
        attempt=delivery.attempts,
        status=status.value,
        response_status=outcome.status,
        response_body=outcome.answer,
        duration_ms=round(outcome.seconds * 1000),
        error=outcome.error,
        delay=max(RETRY.delay(delivery.attempts), outcome.retry_after or 0),
    )


def _health(sent: Sequence[Sent]) -> list[Health]:
    by_endpoint: dict[int, list[Outcome]] = defaultdict(list)
    for one in sent:
        by_endpoint[one.delivery.endpoint_id].append(one.outcome)
    return [
        Health(
            endpoint_id,
            answered=any(one.succeeded for one in outcomes),
            failures=sum(not one.succeeded for one in outcomes),
            gone=any(one.gone for one in outcomes),
        )
        for endpoint_id, outcomes in sorted(by_endpoint.items())
    ]
