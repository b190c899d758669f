"""The marketplace's catalogue, brought into ours page by page (decision 52)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.core.audit import audit
from app.core.database import AnyRow, Database, WriteSession
from app.core.jobs import ReportProgress, enqueue
from app.core.logging import get_logger
from app.crud import catalogue
from app.crud.catalogue import Listed
from app.integrations.errors import Rejected
from app.integrations.marketplace import MarketplaceClient, MarketplaceProduct
from app.schemas.messages.catalogue import SyncCatalogue
from app.schemas.money import MAX_PRICE
from app.schemas.products import MAX_STOCK
from app.services.principal import Principal, require_admin

log = get_logger(__name__)
RESUMABLE = timedelta(hours=1)
"""A run that has stood still for longer starts anew: what it saw may have changed since."""
SWEEP = 1000


class RunMoved(Exception):
    """Another attempt has dealt with this page: this one is over."""


@dataclass(frozen=True, slots=True)
class CatalogueService:
    database: Database
    marketplace: MarketplaceClient

    async def request(self, session: WriteSession, *, principal: Principal) -> int:
        """The job that synchronises: a new one, or the one that waits or runs already."""
        require_admin(principal)
        job_id = await enqueue(session, SyncCatalogue())
        await audit(session, action="catalogue.sync_requested", object_type="job", object_id=job_id)
        return job_id

    async def sync(self, *, progress: ReportProgress) -> dict[str, Any]:
        """Read the catalogue to its end, from where the last attempt stopped, then take off sale what is not in it."""
        async with self.database.session_scope() as session:
            run = await catalogue.open_run(session, resumable_for=RESUMABLE)
        while run.read_at is None:
            run = await self._page(run, progress)
        withdrawn = 0
        while True:
            async with self.database.session_scope() as session:
                taken = await catalogue.withdraw(session, run_id=run.id, limit=SWEEP)
                withdrawn += taken
                if taken < SWEEP:
                    await catalogue.finish(session, run.id, withdrawn=withdrawn)
                    break
        names = ("pages", "seen", "added", "present", "refused")
        return {"run": run.id, "withdrawn": withdrawn} | {name: getattr(run, name) for name in names}

    async def _page(self, run: AnyRow, progress: ReportProgress) -> AnyRow:
        try:
            page = await self.marketplace.page(cursor=run.cursor)
        except Rejected as error:
            if run.cursor:
                log.warning("the marketplace refuses the cursor, the run starts anew", run=run.id, error=str(error))
                async with self.database.session_scope() as session:
                    await catalogue.drop_run(session, run.id)
            raise
        # Of two with one SKU the later one counts: one statement can't change a row twice.
        listed = {item.sku: one for item in page.items if (one := _listed(item)) is not None}
        counted = {"seen": len(page.items), "refused": len(page.items) - len(listed)}
        async with self.database.session_scope() as session:
            added, present = await catalogue.upsert(session, list(listed.values()), run_id=run.id)
            counted |= {"added": added, "present": present}
            moved = await catalogue.advance(session, run, cursor=page.cursor, last=page.last, counted=counted)
            if moved is None:
                raise RunMoved
        await progress(moved.seen, page.total, f"page {moved.pages}")
        return moved


def _listed(item: MarketplaceProduct) -> Listed | None:
    """None for what can't be sold: archived, without a price, in a currency that nobody knows."""
    price = item.amount
    if item.archived or price is None or not 0 < price <= MAX_PRICE:
        return None
    return Listed(item.sku, item.name, price, item.currency, min(item.stock, MAX_STOCK))
