"""What comes back by the clock: reminders, and cutting back what grows."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from app.config import RetentionSettings
from app.core.database import Database, WriteSession
from app.core.jobs import ReportProgress
from app.crud import catalogue, job_control, received_events
from app.crud.audit_events import audit_events
from app.crud.auth_sessions import auth_sessions
from app.crud.idempotency_keys import KEPT, idempotency_keys
from app.crud.notifications import notifications
from app.crud.webhook_deliveries import webhook_deliveries
from app.crud.webhook_events import webhook_events
from app.integrations.storage import Storage
from app.schemas.messages.housekeeping import Pruned
from app.services.appointments import AppointmentService
from app.services.objects import ObjectService

BATCH = 1000
WEBHOOKS = timedelta(days=30)
Cut = Callable[[WriteSession, int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class HousekeepingService:
    retention: RetentionSettings
    database: Database
    storage: Storage
    appointments: AppointmentService
    objects: ObjectService

    async def remind(self) -> int:
        """Enqueue every reminder that is due, a batch in each transaction; returns how many."""
        sent = 0
        while True:
            async with self.database.session_scope() as session:
                number = await self.appointments.send_due_reminders(session)
            if not number:
                return sent
            sent += number

    async def prune(self, subject: Pruned, *, progress: ReportProgress) -> int:
        """Delete what is older than it is kept for, a batch in each transaction; returns how much."""
        cut, deleted = self._cuts()[subject], 0
        while True:
            async with self.database.session_scope() as session:
                number = await cut(session, BATCH)
            deleted += number
            await progress(deleted)
            if number < BATCH:
                return deleted

    def _cuts(self) -> Mapping[Pruned, Cut]:
        return {
            Pruned.JOBS: self._cut_jobs,
            Pruned.OBJECTS: lambda _, __: self.objects.sweep(),
            Pruned.IDEMPOTENCY_KEYS: lambda session, limit: idempotency_keys.prune(session, kept=KEPT, limit=limit),
            Pruned.TOKENS: lambda session, limit: auth_sessions.prune_tokens(
                session, kept=timedelta(days=self.retention.tokens), limit=limit
            ),
            Pruned.SESSIONS: lambda session, limit: auth_sessions.prune(
                session, kept=timedelta(days=self.retention.sessions), limit=limit
            ),
            Pruned.AUDIT_EVENTS: lambda session, limit: audit_events.prune(
                session, days=self.retention.audit_events, limit=limit
            ),
            Pruned.WEBHOOK_EVENTS: lambda session, limit: webhook_events.prune(session, kept=WEBHOOKS, limit=limit),
            Pruned.DELIVERIES: lambda session, limit: webhook_deliveries.prune(session, kept=WEBHOOKS, limit=limit),
            Pruned.NOTIFICATIONS: lambda session, limit: notifications.prune(
                session, kept=timedelta(days=self.retention.notifications), limit=limit
            ),
            Pruned.RECEIVED_EVENTS: lambda session, limit: received_events.prune(
                session, kept=timedelta(days=self.retention.received_events), limit=limit
            ),
            Pruned.CATALOGUE_RUNS: lambda session, limit: catalogue.prune_runs(
                session, kept=timedelta(days=self.retention.catalogue_runs), limit=limit
            ),
        }

    async def _cut_jobs(self, session: WriteSession, limit: int) -> int:
        """Finished jobs, and before them the files that they made: a file without a job would never be found again."""
        old = await job_control.finished_before(
            self.database.read,
            kept=timedelta(days=self.retention.jobs),
            failed_kept=timedelta(days=self.retention.failed_jobs),
            limit=limit,
        )
        for job in old:
            if isinstance(job.result, dict) and (file := job.result.get("file")):
                await self.storage.delete(file["key"])
        return await job_control.delete_finished(session, [job.id for job in old])
