"""Payments."""

from collections.abc import Sequence

from sqlalchemy import select, update

from app.core.database import AnyRow, WriteSession
from app.core.enums import PaymentStatus
from app.crud.base import CRUDBase
from app.models import Payment

LIVE = (PaymentStatus.CREATING, PaymentStatus.PENDING)


class PaymentCRUD(CRUDBase[Payment]):
    async def waiting_for(self, session: WriteSession, order_id: int) -> Payment | None:
        """The payment of the order that may still succeed; the database sees to it that there is one at most."""
        statement = select(Payment).where(Payment.order_id == order_id, Payment.status.in_(LIVE))
        return (await session.execute(statement.with_for_update(key_share=True))).scalar_one_or_none()

    async def named(self, session: WriteSession, provider_id: str) -> AnyRow | None:
        """(id, order_id) of what the provider calls by this name; not locked, because its order is locked first."""
        statement = select(Payment.id, Payment.order_id).where(Payment.provider_id == provider_id)
        return (await session.execute(statement)).first()

    async def withdraw(self, session: WriteSession, order_id: int) -> Sequence[int]:
        """Nobody may pay this way any more; gives the ids of what has to be cancelled at the provider."""
        statement = (
            update(Payment)
            .where(Payment.order_id == order_id, Payment.status.in_(LIVE))
            .values(status=PaymentStatus.CANCELLED)
            .returning(Payment.id)
        )
        return (await session.execute(statement)).scalars().all()


payments = PaymentCRUD(Payment)
