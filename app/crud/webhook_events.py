"""Webhooks that partners sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.database import AnyRow, AnySelect, Base, ReadSession, Step, WriteSession
from app.core.enums import WebhookStatus
from app.core.jobs import JobMessage
from app.core.wakeup import wake_relay
from app.crud.base import CRUDBase
from app.models import Job, WebhookEvent


@dataclass(frozen=True, slots=True)
class Incoming:
    """A verified webhook, and the request it came with. `headers` is JSON."""

    provider: str
    event_id: str
    type: str | None
    headers: str
    body: bytes
    request_id: str | None
    traceparent: str | None


_KINDS: dict[str, Any] = dict.fromkeys(Incoming.__dataclass_fields__, ARRAY(Text)) | {"body": ARRAY(BYTEA)}


class WebhookEventCRUD(CRUDBase[WebhookEvent]):
    def select(self, *where: ColumnElement[bool]) -> AnySelect:
        """Without the body: a list would read megabytes."""
        return select(*(column for column in self.columns if column.name != "body")).where(*where)

    async def with_body(self, read: ReadSession, event_id: int) -> AnyRow | None:
        return await read.first(select(WebhookEvent.__table__).where(WebhookEvent.id == event_id))

    async def store(self, step: Step, events: Sequence[Incoming], *, message: type[JobMessage]) -> int:
        """Keep the events that are new, each with a `message` job that is told its id, all in one statement."""
        values = {name: [getattr(event, name) for event in events] for name in _KINDS}
        stored = await step.execute(_store_statement(message), values)
        step.after_commit(wake_relay)
        return len(stored.all())

    async def settle(
        self, session: WriteSession, event: WebhookEvent, *, status: WebhookStatus, error: str | None = None
    ) -> None:
        event.status, event.error = status, error
        event.handled_at = func.now()
        await session.flush()

    async def reopen(self, session: WriteSession, event_id: int, *, job_id: int) -> None:
        """Another job is on its way."""
        statement = update(WebhookEvent).where(WebhookEvent.id == event_id)
        await session.execute(
            statement.values(status=WebhookStatus.RECEIVED, error=None, handled_at=None, job_id=job_id)
        )

    async def prune(self, session: WriteSession, *, kept: timedelta, limit: int) -> int:
        """Forget at most `limit` events that are older than `kept`; returns how many."""
        old = select(WebhookEvent.id).where(WebhookEvent.received_at < func.now() - kept)
        statement = delete(WebhookEvent).where(WebhookEvent.id.in_(old.order_by(WebhookEvent.received_at).limit(limit)))
        return len((await session.execute(statement.returning(WebhookEvent.id))).all())


@cache
def _store_statement(message: type[JobMessage]) -> Any:
    arrays = (bindparam(name, type_=kind) for name, kind in _KINDS.items())
    one = func.unnest(*arrays).table_valued(*_KINDS, name="one").render_derived()
    given = select(func.nextval("jobs_id_seq").label("job_id"), *one.c).cte("given")
    kept = ("provider", "event_id", "type", "headers", "body", "job_id")
    chosen = [given.c[name].cast(JSONB) if name == "headers" else given.c[name] for name in kept]
    stored = (
        upsert(Base.metadata.tables["webhook_events"])
        .from_select(kept, select(*chosen))
        .on_conflict_do_nothing(index_elements=["provider", "event_id"])
        .returning(WebhookEvent.id, WebhookEvent.job_id)
        .cte("stored")
    )
    job = {
        "id": stored.c.job_id,
        "name": literal(message.name),
        "queue": literal(message.queue.value),
        "priority": literal(message.priority.value),
        "payload": func.jsonb_build_object("event_id", stored.c.id),
        "max_attempts": literal(message.retry.max_attempts),
        "request_id": given.c.request_id,
        "traceparent": given.c.traceparent,
    }
    jobs = select(*job.values()).join_from(stored, given, given.c.job_id == stored.c.job_id)
    return insert(Base.metadata.tables["jobs"]).from_select(list(job), jobs).returning(Job.id)


webhook_events = WebhookEventCRUD(WebhookEvent)
