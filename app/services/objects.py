"""Objects in storage that come and go with rows: none is left behind, whatever dies between the two (decision 40)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.core.database import Database, WriteSession
from app.core.logging import get_logger
from app.crud import temporary_objects
from app.integrations.storage import Storage, StorageUnavailable

log = get_logger(__name__)
BATCH = 100


class ObjectExpired(Exception):
    """An object that was to be adopted has outlived its time, and may be gone."""


@dataclass(frozen=True, slots=True)
class ObjectService:
    database: Database
    storage: Storage

    async def stage(self, objects: Mapping[str, AsyncIterator[bytes] | bytes], *, lifetime: timedelta) -> None:
        """Store objects that are swept after `lifetime`, unless a transaction adopts them before."""
        async with self.database.session_scope() as session:
            await temporary_objects.keep(session, list(objects), lifetime=lifetime)
        for key, chunks in objects.items():
            await self.storage.put(key, chunks)

    async def keep(self, session: WriteSession, keys: Sequence[str], *, lifetime: timedelta) -> None:
        """Let staged objects live `lifetime` from now."""
        await temporary_objects.keep(session, keys, lifetime=lifetime)

    async def adopt(self, session: WriteSession, keys: Sequence[str]) -> None:
        """What this transaction writes refers to the staged objects from now on. Raises `ObjectExpired`."""
        if await temporary_objects.adopt(session, keys) != len(keys):
            raise ObjectExpired(keys[0])

    async def discard(self, session: WriteSession, keys: Sequence[str]) -> None:
        """Sweep the objects soon, if this transaction commits."""
        await temporary_objects.keep(session, keys, lifetime=timedelta())

    async def sweep(self) -> int:
        """Delete what has expired; how many objects that were. Rivals do the same work twice, which does no harm."""
        swept = 0
        while keys := await temporary_objects.expired(self.database.read, limit=BATCH):
            gone = [key for key in keys if await self._delete(key)]
            async with self.database.session_scope() as session:
                await temporary_objects.forget(session, gone)
            swept += len(gone)
            if len(gone) < len(keys):
                break
        return swept

    async def _delete(self, key: str) -> bool:
        try:
            await self.storage.delete(key)
        except StorageUnavailable as error:
            log.warning("an expired object stays for now", key=key, error=str(error))
            return False
        return True
