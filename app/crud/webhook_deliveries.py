"""The ledger of deliveries: who may be sent to now, and what became of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Double, String, bindparam, delete, func, insert, literal, select, text, update

from app.core.database import AnyRow, ReadSession, WriteSession, take_turns
from app.core.enums import DeliveryStatus
from app.crud.base import CRUDBase, Where
from app.models import WebhookDelivery, WebhookEndpoint

CLAIM_TURNS = 0x64656C6976657279
TRIED_FOR = timedelta(days=3)
LONG = timedelta(seconds=1)
"""Whoever answers later than that is not asked for two things at once."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome of attempt number `attempt`; when `status` is pending, the next follows after `delay` seconds."""

    id: int
    attempt: int
    status: str
    response_status: int | None
    response_body: str | None
    duration_ms: int
    error: str | None
    delay: float


class WebhookDeliveryCRUD(CRUDBase[WebhookDelivery]):
    def of_endpoint(self, endpoint_id: int) -> Where:
        return (WebhookDelivery.endpoint_id == endpoint_id,)

    async def add_for_subscribers(
        self, session: WriteSession, *, event: str, object_type: str, object_id: int, payload: dict[str, Any]
    ) -> int:
        """One delivery for each endpoint that wants the event, in one statement; returns how many."""
        endpoints = select(
            WebhookEndpoint.id,
            literal(event),
            literal(object_type),
            literal(object_id),
            literal(payload, WebhookDelivery.payload.type),
            func.now() + literal(TRIED_FOR),
        ).where(
            WebhookEndpoint.is_active,
            WebhookEndpoint.deleted_at.is_(None),
            literal(event) == func.any(WebhookEndpoint.events),
        )
        columns = ["endpoint_id", "event", "object_type", "object_id", "payload", "expires_at"]
        statement = insert(WebhookDelivery).from_select(columns, endpoints).returning(WebhookDelivery.id)
        return len((await session.execute(statement)).all())

    async def claim(
        self, session: WriteSession, *, limit: int, failing_limit: int, per_endpoint: int, lease_seconds: float
    ) -> Sequence[AnyRow]:
        """Take due deliveries with what it needs to send them; each is nobody else's until its lease ends.

        A delivery waits while an earlier one of its object to the same endpoint is pending. An endpoint has at most
        `per_endpoint` under way, one while it fails or lets one wait for LONG; those that fail get at most
        `failing_limit` in all.
        """
        await take_turns(session, CLAIM_TURNS)
        values = {
            "limit": limit,
            "failing_limit": failing_limit,
            "per_endpoint": per_endpoint,
            "lease": timedelta(seconds=lease_seconds),
            "long": LONG,
        }
        return (await session.execute(_CLAIM, values)).all()

    async def is_due(self, read: ReadSession) -> bool:
        """Whether `claim` may find something."""
        due = select(WebhookDelivery.id).where(
            WebhookDelivery.status == DeliveryStatus.PENDING, WebhookDelivery.next_attempt_at <= func.now()
        )
        return bool(await read.scalar(select(due.exists())))

    async def due(self, read: ReadSession) -> tuple[int, float]:
        """How many are due, and for how many seconds the oldest has been; of endpoints that are on and not paused."""
        age = func.extract("epoch", func.now() - func.min(WebhookDelivery.next_attempt_at))
        row = await read.first(
            select(func.count(), func.coalesce(age, 0))
            .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
            .where(
                WebhookDelivery.status == DeliveryStatus.PENDING,
                WebhookDelivery.next_attempt_at <= func.now(),
                func.coalesce(WebhookEndpoint.paused_until <= func.now(), True),
                WebhookEndpoint.is_active,
            )
        )
        return (row[0], float(row[1])) if row else (0, 0.0)

    async def settle(self, session: WriteSession, outcomes: Sequence[Settled]) -> Sequence[AnyRow]:
        """Note the outcomes; gives (id, endpoint_id) of those whose attempt was still the present one."""
        rows = [asdict(one) for one in outcomes]
        values = {name: [row[name] for row in rows] for name in _KINDS}
        return (await session.execute(_SETTLE, values)).all()

    async def reopen(self, session: WriteSession, delivery_id: int) -> bool:
        """Have it sent again at once, for three days at most; False when it is under way at this moment."""
        statement = (
            update(WebhookDelivery)
            .where(
                WebhookDelivery.id == delivery_id,
                func.coalesce(WebhookDelivery.leased_until < func.now(), True),
            )
            .values(
                status=DeliveryStatus.PENDING,
                next_attempt_at=func.now(),
                expires_at=func.now() + TRIED_FOR,
                leased_until=None,
                finished_at=None,
            )
            .returning(WebhookDelivery.endpoint_id)
        )
        endpoint_id = (await session.execute(statement)).scalar_one_or_none()
        if endpoint_id is not None:
            # Somebody has looked after it: no need to wait for the end of its pause.
            unpaused = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id)
            await session.execute(unpaused.values(paused_until=None))
        return endpoint_id is not None

    async def expire(self, session: WriteSession) -> None:
        """Give up what has waited for three days, without an attempt too: its endpoint was off or paused."""
        statement = update(WebhookDelivery).where(
            WebhookDelivery.status == DeliveryStatus.PENDING,
            WebhookDelivery.expires_at < func.now(),
            func.coalesce(WebhookDelivery.leased_until < func.now(), True),
        )
        await session.execute(
            statement.values(
                status=DeliveryStatus.FAILED,
                finished_at=func.now(),
                leased_until=None,
                error=func.coalesce(WebhookDelivery.error, "not sent within three days"),
            )
        )

    async def prune(self, session: WriteSession, *, kept: timedelta, limit: int) -> int:
        """Forget at most `limit` finished deliveries that are older than `kept`; returns how many."""
        old = (
            select(WebhookDelivery.id)
            .where(
                WebhookDelivery.created_at < func.now() - kept,
                WebhookDelivery.status != DeliveryStatus.PENDING,
            )
            .order_by(WebhookDelivery.created_at)
            .limit(limit)
        )
        statement = delete(WebhookDelivery).where(WebhookDelivery.id.in_(old)).returning(WebhookDelivery.id)
        return len((await session.execute(statement)).all())


# From the endpoints to their first due deliveries, never the other way: however much waits for an endpoint that hangs,
# a claim looks at no more than a few rows of it.
_CLAIM = text("""
WITH busy AS (
    SELECT endpoint_id, count(*) AS number, min(last_attempt_at) AS since FROM webhook_deliveries
    WHERE leased_until IS NOT NULL AND leased_until > now() GROUP BY endpoint_id
), ready AS (
    SELECT e.id, e.failures > 0 AS failing,
        CASE WHEN e.failures > 0 OR b.since < now() - CAST(:long AS interval) THEN 1
            ELSE CAST(:per_endpoint AS integer) END - coalesce(b.number, 0) AS free
    FROM webhook_endpoints e LEFT JOIN busy b ON b.endpoint_id = e.id
    WHERE e.is_active AND e.deleted_at IS NULL AND (e.paused_until IS NULL OR e.paused_until <= now())
), first AS (
    SELECT d.id, r.failing, row_number() OVER (PARTITION BY r.failing ORDER BY d.next_attempt_at, d.id) AS place
    FROM ready r CROSS JOIN LATERAL (
        SELECT w.id, w.next_attempt_at FROM webhook_deliveries w
        WHERE w.endpoint_id = r.id AND w.status = 'pending' AND w.next_attempt_at <= now() AND w.expires_at > now()
            AND NOT EXISTS (
                SELECT FROM webhook_deliveries o
                WHERE o.endpoint_id = w.endpoint_id AND o.status = 'pending'
                    AND o.object_type = w.object_type AND o.object_id = w.object_id AND o.id < w.id
            )
        ORDER BY w.next_attempt_at, w.id LIMIT greatest(r.free, 0)
    ) d
), chosen AS (
    SELECT id FROM first WHERE NOT failing OR place <= CAST(:failing_limit AS integer)
    ORDER BY failing, place LIMIT CAST(:limit AS integer)
)
UPDATE webhook_deliveries d
SET attempts = d.attempts + 1, last_attempt_at = now(), leased_until = now() + CAST(:lease AS interval),
    next_attempt_at = now() + CAST(:lease AS interval)
FROM chosen c, webhook_endpoints e
WHERE d.id = c.id AND e.id = d.endpoint_id
RETURNING d.id, d.endpoint_id, d.message_id, d.event, d.payload, d.attempts, d.created_at, e.url, e.failures, e.secret,
    CASE WHEN e.previous_until > now() THEN e.previous_secret END AS previous_secret
""")
_KINDS: dict[str, Any] = {
    "id": ARRAY(BigInteger),
    "attempt": ARRAY(BigInteger),
    "status": ARRAY(String),
    "response_status": ARRAY(BigInteger),
    "response_body": ARRAY(String),
    "duration_ms": ARRAY(BigInteger),
    "error": ARRAY(String),
    "delay": ARRAY(Double),
}
_SETTLE = text("""
UPDATE webhook_deliveries d
SET status = CASE WHEN o.status = 'pending' AND now() + make_interval(secs => o.delay) > d.expires_at THEN 'failed'
        ELSE o.status END,
    finished_at = CASE WHEN o.status = 'pending' AND now() + make_interval(secs => o.delay) <= d.expires_at THEN NULL
        ELSE now() END,
    next_attempt_at = now() + make_interval(secs => o.delay), leased_until = NULL,
    response_status = o.response_status, response_body = o.response_body, duration_ms = o.duration_ms, error = o.error
FROM unnest(:id, :attempt, :status, :response_status, :response_body, :duration_ms, :error, :delay)
    AS o(id, attempt, status, response_status, response_body, duration_ms, error, delay)
WHERE d.id = o.id AND d.attempts = o.attempt AND d.leased_until IS NOT NULL
RETURNING d.id, d.endpoint_id
""").bindparams(*(bindparam(name, type_=kind) for name, kind in _KINDS.items()))

webhook_deliveries = WebhookDeliveryCRUD(WebhookDelivery)
