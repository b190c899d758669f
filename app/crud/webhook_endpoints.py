"""Endpoints of partners, and their health."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ARRAY, BigInteger, Boolean, String, and_, bindparam, case, func, literal, or_, update

from app.core.database import AnyRow, WriteSession
from app.crud.base import CRUDBase
from app.models import WebhookEndpoint

PAUSED_AFTER = 3
"""Failures in a row after which an endpoint is asked at growing intervals, whatever is due for it."""
PAUSE_BASE, PAUSE_CAP = 5.0, 900.0
DISABLED_AFTER, DISABLED_FAILURES = timedelta(days=3), 10


@dataclass(frozen=True, slots=True)
class Health:
    """What a batch of attempts says of one endpoint."""

    endpoint_id: int
    answered: bool
    failures: int
    gone: bool


class WebhookEndpointCRUD(CRUDBase[WebhookEndpoint]):
    async def rotate(
        self, session: WriteSession, endpoint: WebhookEndpoint, *, secret: bytes, overlap: timedelta
    ) -> None:
        """The present secret becomes the previous one for a while."""
        endpoint.previous_secret, endpoint.secret = endpoint.secret, secret
        endpoint.previous_until = func.now() + overlap
        endpoint.version += 1
        await session.flush()

    async def note_health(self, session: WriteSession, found: Sequence[Health]) -> Sequence[AnyRow]:
        """Count failures in a row, pause and disable; gives (id, disabled_reason) of those disabled by this."""
        values = {
            "ids": [one.endpoint_id for one in found],
            "answered": [one.answered for one in found],
            "failed": [one.failures for one in found],
            "gone": [one.gone for one in found],
        }
        await session.execute(_COUNT, values)
        return (await session.execute(_DISABLE, values)).all()


_given = (
    func.unnest(
        bindparam("ids", type_=ARRAY(BigInteger)),
        bindparam("answered", type_=ARRAY(Boolean)),
        bindparam("failed", type_=ARRAY(BigInteger)),
        bindparam("gone", type_=ARRAY(Boolean)),
    )
    .table_valued("id", "answered", "failed", "gone", name="given")
    .render_derived()
)
_failures = WebhookEndpoint.failures + _given.c.failed
_pause = func.least(PAUSE_CAP, PAUSE_BASE * func.power(2.0, func.least(_failures - PAUSED_AFTER, 20)))
_COUNT = (
    update(WebhookEndpoint)
    .where(WebhookEndpoint.id == _given.c.id, or_(~_given.c.answered, WebhookEndpoint.failures > 0))
    .values(
        failures=case((_given.c.answered, 0), else_=_failures),
        failing_since=case((_given.c.answered, None), else_=func.coalesce(WebhookEndpoint.failing_since, func.now())),
        paused_until=case(
            (or_(_given.c.answered, _failures < PAUSED_AFTER), None),
            else_=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, _pause),
        ),
    )
)
_long = and_(
    WebhookEndpoint.failing_since < func.now() - literal(DISABLED_AFTER), WebhookEndpoint.failures >= DISABLED_FAILURES
)
_DISABLE = (
    update(WebhookEndpoint)
    .where(WebhookEndpoint.id == _given.c.id, WebhookEndpoint.is_active, or_(_given.c.gone, _long))
    .values(
        is_active=False,
        disabled_reason=case((_given.c.gone, literal("gone", String)), else_=literal("failing", String)),
        version=WebhookEndpoint.version + 1,
    )
    .returning(WebhookEndpoint.id, WebhookEndpoint.disabled_reason)
)


webhook_endpoints = WebhookEndpointCRUD(WebhookEndpoint)
