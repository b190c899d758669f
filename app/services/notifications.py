"""Mail to many: accepted as one job, sent one by one, resumed where it stopped (decision 41)."""

import asyncio
from dataclasses import dataclass
from typing import Any

from app.config import Settings
from app.core.audit import audit
from app.core.database import AnyRow, Database, WriteSession
from app.core.enums import RecipientStatus
from app.core.jobs import JobFailed, ReportProgress, enqueue
from app.crud.notifications import notifications
from app.emails.render import render
from app.integrations.mail import Mailer
from app.integrations.mail_message import Mail, MailRejected, MailUnavailable, parse_mailbox
from app.models import Notification
from app.schemas.messages.notifications import SendNotification
from app.schemas.notifications import NotificationCreate, RoleAudience
from app.services.notification_outbox import Outbox, Pace
from app.services.principal import Principal, require_admin

PAGE = 100
LISTED_FAILURES = 100
LONGEST_REASON = 500
REFUSALS_IN_A_ROW = 10
"""So many mails that can't be handed over, one after the other, are the server's trouble and not the recipients'."""


@dataclass(frozen=True, slots=True)
class NotificationService:
    settings: Settings
    database: Database
    mailer: Mailer

    async def request(self, session: WriteSession, *, principal: Principal, data: NotificationCreate) -> int:
        """Accept the notification; returns the id of the job that sends it. Its audience is made of who exists now."""
        require_admin(principal)
        role = data.audience.role if isinstance(data.audience, RoleAudience) else None
        user_ids = None if isinstance(data.audience, RoleAudience) else sorted(set(data.audience.user_ids))
        notification = Notification(
            template=data.template,
            subject=data.subject,
            context=data.context.words(),
            role=role,
            user_ids=user_ids,
            last_user_id=await notifications.newest_user(session),
        )
        await notifications.add(session, notification)
        job_id = await enqueue(session, SendNotification(notification_id=notification.id))
        asked = data.model_dump(mode="json", exclude={"context"})
        await audit(session, action="notification.requested", object_type="job", object_id=job_id, changes=asked)
        return job_id

    async def send(self, message: SendNotification, *, last: bool, progress: ReportProgress) -> dict[str, Any]:
        """Mail everybody who is not done with. A recipient known to be sent is never sent again; one in doubt is, under
        the same Message-ID. Of the `last` attempt, those who can't be reached are failures, too.
        """
        notification = await notifications.get(self.database.read, message.notification_id)
        if notification is None:
            raise JobFailed("the notification is gone")
        run = _Run(self, notification, last=last, progress=progress)
        await run.count()
        try:
            await run.send_all()
        except MailUnavailable:
            await run.tell()
            raise
        finally:
            # Shielded: what is known must not be in doubt because somebody stopped the job.
            await asyncio.shield(run.outbox.flush())
        await run.tell()
        if run.deferred:
            raise MailUnavailable(f"{run.deferred} of {run.total} mails could not be handed over yet")
        return await self._outcome(notification.id)

    def message(self, notification: AnyRow, person: AnyRow) -> Mail:
        """The mail to one recipient: the same Message-ID, whoever sends it and when."""
        context = {"subject": notification.subject, "full_name": person.full_name, **notification.context}
        words = render(notification.template, context | {"clinic_name": self.settings.clinic.name})
        stem = f"notification-{notification.id}.{int(notification.created_at.timestamp())}.{person.id}"
        domain = parse_mailbox(self.settings.mail.sender).domain
        return Mail(person.email, words.subject, words.text, words.html, f"<{stem}@{domain}>")

    async def _outcome(self, notification_id: int) -> dict[str, Any]:
        tally = await notifications.tally(self.database.read, notification_id)
        failed = await notifications.failures(self.database.read, notification_id, limit=LISTED_FAILURES)
        return {
            "recipients": sum(tally.values()),
            "sent": tally[RecipientStatus.SENT],
            "failed_count": tally[RecipientStatus.FAILED],
            "failed": [{"user_id": row.user_id, "email": row.email, "reason": row.reason} for row in failed],
        }


class _Run:
    """One attempt at a notification."""

    def __init__(
        self, service: NotificationService, notification: AnyRow, *, last: bool, progress: ReportProgress
    ) -> None:
        self._service = service
        self._notification = notification
        self._last = last
        self._progress = progress
        self._read = service.database.read
        self._verified_only = service.settings.verified_email_required
        self._refusals = 0
        self._done_before = 0
        self.outbox = Outbox(service.database, notification.id)
        self.total = 0
        self.deferred = 0

    async def count(self) -> None:
        self._done_before = sum((await notifications.tally(self._read, self._notification.id)).values())
        pending = await notifications.count_pending(self._read, self._notification, verified_only=self._verified_only)
        self.total = self._done_before + pending
        await self.tell()

    async def tell(self) -> None:
        await self.outbox.flush()
        await self._progress(self._done_before + self.outbox.written, self.total)

    async def send_all(self) -> None:
        pace, after = Pace(self._service.settings.notifications.rate), 0
        while people := await notifications.pending(
            self._read, self._notification, after=after, limit=PAGE, verified_only=self._verified_only
        ):
            for person in people:
                await pace.turn()
                await self._send(person)
            after = people[-1].id

    async def _send(self, person: AnyRow) -> None:
        reason = None
        try:
            await self._service.mailer.send(self._service.message(self._notification, person))
            self._refusals = 0
        except MailRejected as error:
            reason = str(error)
        except MailUnavailable as error:
            self._refusals += 1
            if self._refusals >= REFUSALS_IN_A_ROW:
                raise
            if not self._last:
                self.deferred += 1
                return
            reason = str(error)
        if await self.outbox.note(person.id, reason and reason.replace("\0", "")[:LONGEST_REASON]):
            await self.tell()
