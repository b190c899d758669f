"""Notifications and their recipients."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, exists, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from app.core.database import AnyRow, ReadSession, WriteSession
from app.core.enums import RecipientStatus
from app.crud.base import CRUDBase
from app.models import Notification, NotificationRecipient, User


def _pending(notification: AnyRow, verified_only: bool) -> list[ColumnElement[bool]]:
    """Who belongs to the audience, may get mail, and is not done with."""
    done = exists().where(
        NotificationRecipient.notification_id == notification.id, NotificationRecipient.user_id == User.id
    )
    conditions = [User.deleted_at.is_(None), User.is_active.is_(True), User.id <= notification.last_user_id, ~done]
    if notification.role is not None:
        conditions.append(User.role == notification.role)
    else:
        conditions.append(User.id == func.any(notification.user_ids))
    return [*conditions, User.email_verified.is_(True)] if verified_only else conditions


class NotificationCRUD(CRUDBase[Notification]):
    async def newest_user(self, session: WriteSession) -> int:
        """The id of the account that was made last."""
        return int((await session.execute(select(func.coalesce(func.max(User.id), 0)))).scalar_one())

    async def count_pending(self, read: ReadSession, notification: AnyRow, *, verified_only: bool) -> int:
        statement = select(func.count()).select_from(User).where(*_pending(notification, verified_only))
        return int(await read.scalar(statement))

    async def pending(
        self, read: ReadSession, notification: AnyRow, *, after: int, limit: int, verified_only: bool
    ) -> Sequence[AnyRow]:
        """(id, email, full_name) of the next recipients that are not done with, by id."""
        statement = select(User.id, User.email, User.full_name).where(
            *_pending(notification, verified_only), User.id > after
        )
        return await read.all(statement.order_by(User.id).limit(limit))

    async def record(self, session: WriteSession, notification_id: int, outcomes: Mapping[int, str | None]) -> None:
        """Note who is done with: None for sent, or why it failed. What is known already stands."""
        rows = [
            {
                "notification_id": notification_id,
                "user_id": user_id,
                "status": RecipientStatus.SENT if reason is None else RecipientStatus.FAILED,
                "reason": reason,
            }
            for user_id, reason in outcomes.items()
        ]
        await session.execute(insert(NotificationRecipient).values(rows).on_conflict_do_nothing())

    async def tally(self, read: ReadSession, notification_id: int) -> dict[RecipientStatus, int]:
        statement = select(NotificationRecipient.status, func.count()).group_by(NotificationRecipient.status)
        rows = await read.all(statement.where(NotificationRecipient.notification_id == notification_id))
        return dict.fromkeys(RecipientStatus, 0) | {row.status: row[1] for row in rows}

    async def failures(self, read: ReadSession, notification_id: int, *, limit: int) -> Sequence[AnyRow]:
        """(user_id, email, reason) of the first recipients that failed."""
        statement = (
            select(NotificationRecipient.user_id, User.email, NotificationRecipient.reason)
            .join(User, User.id == NotificationRecipient.user_id)
            .where(
                NotificationRecipient.notification_id == notification_id,
                NotificationRecipient.status == RecipientStatus.FAILED,
            )
        )
        return await read.all(statement.order_by(NotificationRecipient.user_id).limit(limit))

    async def prune(self, session: WriteSession, *, kept: timedelta, limit: int) -> int:
        """Delete recipients of old notifications, and notifications without any; how many rows, at most `limit`."""
        old = select(Notification.id).where(Notification.created_at < func.now() - kept)
        some = (
            select(NotificationRecipient.notification_id, NotificationRecipient.user_id)
            .where(NotificationRecipient.notification_id.in_(old))
            .limit(limit)
        )
        pair = tuple_(NotificationRecipient.notification_id, NotificationRecipient.user_id)
        gone = await session.execute(
            delete(NotificationRecipient).where(pair.in_(some)).returning(NotificationRecipient.user_id)
        )
        if number := len(gone.all()):
            return number
        done = delete(Notification).where(Notification.id.in_(old.limit(limit - 1)))
        return len((await session.execute(done.returning(Notification.id))).all())


notifications = NotificationCRUD(Notification)
