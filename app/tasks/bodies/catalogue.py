"""Body of the job that synchronises the marketplace's products."""

from typing import Any

from app.schemas.messages.catalogue import SyncCatalogue
from app.services.catalogue import CatalogueService
from app.tasks.attempt import Attempt, Bodies


def catalogue_bodies(catalogue: CatalogueService) -> Bodies:
    async def sync(_: SyncCatalogue, attempt: Attempt) -> Any:
        return await catalogue.sync(progress=attempt.progress)

    return {SyncCatalogue: sync}
