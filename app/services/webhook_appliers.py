"""What an event of each partner does. An event may come again, and in any order: each applier leads to the same end."""

from typing import Any

from app.core.database import WriteSession
from app.core.jobs import enqueue
from app.crud.jobs import jobs
from app.schemas.messages.catalogue import SyncCatalogue
from app.schemas.payments import PaymentEvent, PaymentEventType
from app.services.payment_webhooks import apply_event


async def apply_payment(session: WriteSession, kind: str, body: Any) -> bool:
    """The payment provider's word on a payment; ValueError when it fits none of ours."""
    if kind not in set(PaymentEventType):
        return False
    outcome = await apply_event(session, event=PaymentEvent.model_validate(body))
    if outcome in ("unknown", "mismatch"):
        raise ValueError(f"it fits no payment of ours: {outcome}")
    return True


async def apply_catalogue_change(session: WriteSession, kind: str, _: Any) -> bool:
    """Something about a product of the marketplace: what it says is not trusted, the catalogue is read anew."""
    if not kind.startswith("product."):
        return False
    job = await jobs.written(session, await enqueue(session, SyncCatalogue()))
    if job.attempt:
        # It may have passed this product, and an attempt that follows goes on behind it.
        await enqueue(session, SyncCatalogue(again=True))
    return True
