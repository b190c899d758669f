"""Backups of the database: one dump and its manifest each, in a folder or a bucket (decision 0090)."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from app import __version__
from app.config import BackupSettings, Settings
from app.core.database import Database, WriteSession
from app.core.database_address import DatabaseAddress
from app.core.sealed_stream import sealed
from app.crud import backups
from app.integrations.postgres_programs import find_program, output
from app.integrations.storage import LocalStorage, ObjectMissing, Storage
from app.integrations.storage_s3 import S3Storage
from app.schemas.backups import Contents, Manifest
from app.services.backup_retention import kept
from app.services.event_dispatch import make_dispatcher

FOLDER = "backups"
_MANIFEST = "manifest.json"
# A migration that holds a table is waited for, within reason.
_DUMP = ("--format=custom", "--lock-wait-timeout=60s", "--no-password")


class BackupError(Exception):
    """It can't be done; the text says why, and what to do."""


@dataclass(slots=True)
class Measured:
    """Bytes that pass through, counted and summed up."""

    chunks: AsyncIterator[bytes]
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.chunks:
            self.size += len(chunk)
            self.digest.update(chunk)
            yield chunk


def dump_key(name: str) -> str:
    return f"{FOLDER}/{name}/database.dump"


def _moment(taken_at: datetime) -> str:
    return f"{taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def make_backup_storage(settings: Settings) -> Storage:
    """Where backups are kept."""
    if bucket := settings.backup.bucket:
        return S3Storage(settings.storage.model_copy(update={"bucket": bucket}))
    return LocalStorage(settings.backup.directory)


def patient_database(settings: Settings, address: DatabaseAddress) -> Database:
    """A database for statements that take as long as they take; what they cause is handled as anywhere."""
    day: Any = 24 * 3600.0
    patience = {"migrate_statement_timeout": day, "idle_in_transaction_timeout": day, "migrate_lock_timeout": 60.0}
    url = type(settings.database.url)(address.url)
    own = settings.database.model_copy(update={"url": url, "direct_url": url} | patience)
    return Database(own, role="migrate", pooled=False, before_commit=make_dispatcher(settings.events))


async def contents_of(session: WriteSession) -> Contents:
    """What this transaction sees in its database."""
    rows = await backups.row_counts(session)
    objects = await backups.objects(session)
    return Contents(revision=await backups.revision(session), rows=rows, **objects)


@dataclass(frozen=True, slots=True)
class BackupService:
    settings: BackupSettings
    address: DatabaseAddress
    database: Database
    storage: Storage

    async def make(self) -> Manifest:
        """Make one backup. It is there when its manifest is; until then nothing looks like a backup.

        Raises BackupError, ProgramError, StorageUnavailable, and what the database raises.
        """
        async with self.database.session_scope() as session:
            snapshot = await backups.freeze(session)
            if snapshot is None:
                raise BackupError("another backup is being made")
            await self._clear_failed()
            if not await backups.revision(session):
                raise BackupError("the database has no schema yet: run `python -m app migrate`")
            taken_at = snapshot.taken_at.astimezone(UTC)
            name = f"{_moment(taken_at)}-{secrets.token_hex(4)}"
            program = await find_program("pg_dump", major=snapshot.server_major, folder=self.settings.programs)
            dumping = output(program, *_DUMP, f"--snapshot={snapshot.id}", environment=self.address.environment())
            async with aclosing(dumping) as dump:
                stored = Measured(self._sealed(dump, name))
                await self.storage.put(dump_key(name), aiter(stored))
            if await self.storage.size(dump_key(name)) != stored.size:
                raise BackupError("the store has not kept what it was given")
            manifest = Manifest(
                name=name,
                taken_at=taken_at,
                app_version=__version__,
                server_major=snapshot.server_major,
                database=self.address.name,
                encrypted=bool(self.settings.keys),
                size=stored.size,
                sha256=stored.digest.hexdigest(),
                contents=await contents_of(session),
                roles=await backups.granted_roles(session),
            )
            await self.storage.put(f"{FOLDER}/{name}/{_MANIFEST}", manifest.model_dump_json(indent=2).encode())
        async with self.database.session_scope() as session:
            await backups.record(session, name=name, taken_at=taken_at, size=manifest.size)
        return manifest

    def _sealed(self, dump: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
        if not self.settings.keys:
            return dump
        return sealed(dump, key=self.settings.keys[0].get_secret_value().encode(), purpose=name)

    async def names(self) -> list[str]:
        """Backups that are complete, the newest first."""
        keys = [key async for key in self.storage.keys(FOLDER)]
        return sorted((key.split("/")[1] for key in keys if key.endswith(f"/{_MANIFEST}")), reverse=True)

    async def manifest(self, name: str) -> Manifest:
        """That of one backup, `latest` being the newest. Raises BackupError."""
        if name == "latest":
            name = next(iter(await self.names()), "")
        if not name:
            raise BackupError("there is no backup yet")
        try:
            parts = [chunk async for chunk in self.storage.open(f"{FOLDER}/{name}/{_MANIFEST}")]
            manifest = Manifest.model_validate_json(b"".join(parts))
        except (ObjectMissing, ValueError) as error:
            if isinstance(error, ValidationError):
                raise BackupError(f"the manifest of {name} is damaged, or of a newer version") from error
            raise BackupError(f"there is no backup {name}: `python -m app backup --list` names them") from error
        if manifest.name != name:
            raise BackupError(f"the manifest of {name} is that of {manifest.name}")
        # The seal of the dump is bound to the name: so the moment is, after which people are erased again.
        if not name.startswith(_moment(manifest.taken_at)):
            raise BackupError(f"the manifest of {name} has another time: it was altered")
        return manifest

    async def prune(self) -> Sequence[str]:
        """Delete the backups that no day and no week keeps; their names.

        The newest stays, and so does the newest that is known to restore. The manifest goes first: a dump without one
        is no backup.
        """
        names = await self.names()
        keep = kept(names, daily=self.settings.keep_daily, weekly=self.settings.keep_weekly)
        keep.add(await backups.last_verified(self.database.read) or "")
        gone = [name for name in names if name not in keep]
        for name in gone:
            await self.storage.delete(f"{FOLDER}/{name}/{_MANIFEST}")
            await self.storage.delete(dump_key(name))
        async with self.database.session_scope() as session:
            await backups.forget(session, gone)
        return gone

    async def _clear_failed(self) -> None:
        """Remove what attempts before this one left; nobody else makes a backup now."""
        await self.storage.tidy(FOLDER)
        whole = set(await self.names())
        for key in [key async for key in self.storage.keys(FOLDER)]:
            if key.split("/")[1] not in whole:
                await self.storage.delete(key)
