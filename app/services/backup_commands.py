"""`python -m app backup|restore|verify-backup`: what they do, and what they say to whoever typed them."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from socket import gaierror
from ssl import SSLError

from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.core.database import is_unavailable
from app.core.database_address import DatabaseAddress
from app.core.errors import DomainError
from app.core.logging import get_logger
from app.crud import backups as crud
from app.integrations.postgres_programs import ProgramError
from app.schemas.backups import Manifest
from app.services.backups import BackupError, BackupService, make_backup_storage, patient_database
from app.services.readiness import head_revision
from app.services.restores import RestoreService

log = get_logger(__name__)
LOOK_SECONDS, AGAIN_SECONDS = 60.0, 900.0
FAILURES = (BackupError, ProgramError, DomainError, DBAPIError, OSError)


@asynccontextmanager
async def _service(settings: Settings) -> AsyncIterator[BackupService]:
    address = DatabaseAddress.direct(settings.database)
    database, storage = patient_database(settings, address), make_backup_storage(settings)
    try:
        yield BackupService(settings.backup, address, database, storage)
    finally:
        await storage.close()
        await database.close()


async def backup(settings: Settings) -> list[str]:
    """Make one, then delete what is kept no longer."""
    async with _service(settings) as service:
        return await _one(service)


async def _one(service: BackupService) -> list[str]:
    began = time.monotonic()
    manifest = await service.make()
    lines = [f"backup {_line(manifest)}, in {time.monotonic() - began:.1f} s"]
    if gone := await service.prune():
        lines.append(f"deleted: {', '.join(gone)}")
    return lines


async def keep_backing_up(settings: Settings) -> None:
    """A backup whenever the last one is too old, until SIGTERM; a failed one is tried again in a quarter of an hour."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    async with _service(settings) as service:
        log.info("started", every_hours=settings.backup.every_hours)
        while not stop.is_set():
            # What is under way is given up: a container that is stopped has seconds, a dump may take an hour.
            step = asyncio.create_task(_when_due(service))
            await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                step.cancel()
                await asyncio.wait({step})
                break
            await asyncio.wait({stopping}, timeout=step.result())
    log.info("stopped")


async def _when_due(service: BackupService) -> float:
    """Make a backup if it is time for one; returns the seconds until it is worth looking again."""
    try:
        last = (await crud.last(service.database.read)).at
        age = (datetime.now(UTC) - last).total_seconds() if last else None
        if age is None or age >= service.settings.every_hours * 3600:
            for line in await _one(service):
                log.info("backup", said=line)
    except FAILURES as error:
        log.warning("backup failed", error=explained(error))
        return AGAIN_SECONDS
    return LOOK_SECONDS


async def listing(settings: Settings) -> list[str]:
    """The backups that are there, newest first."""
    async with _service(settings) as service:
        manifests = [await service.manifest(name) for name in await service.names()]
    return [_line(manifest) for manifest in manifests] or ["no backup yet"]


async def restore(settings: Settings, name: str, *, replace: str | None, allow_unencrypted: bool = False) -> list[str]:
    """Restore, and say what is to be done next."""
    async with _service(settings) as service:
        began = time.monotonic()
        restoring = RestoreService(settings, service, service.address, allow_unencrypted)
        done = await restoring.restore(name, replace=replace)
    manifest = done.manifest
    lines = [
        f"restored {_line(manifest)}, into {done.database}, in {time.monotonic() - began:.1f} s",
        f"counts, constraints, indexes and triggers are as they were; {done.sessions_ended} sessions ended, "
        f"{done.erased} people erased again",
    ]
    if done.aside:
        lines.append(f"what was there is now the database {done.aside}: drop it when nobody misses anything")
    head = head_revision()
    if manifest.contents.revision != head:
        lines.append(f"next: python -m app migrate (it is at {manifest.contents.revision}, this code at {head})")
        lines.append("next: python -m app erase-user --again: who was erased since the backup is in it")
    lines.append("next: what was done since the backup may be done again: docs/runbooks/restore-the-database.md")
    return lines


async def verify(settings: Settings, name: str, *, allow_unencrypted: bool = False) -> list[str]:
    """Restore into a database that is thrown away, and compare."""
    async with _service(settings) as service:
        began = time.monotonic()
        manifest = await RestoreService(settings, service, service.address, allow_unencrypted).verify(name)
    return [f"verified {_line(manifest)}: it restores, in {time.monotonic() - began:.1f} s"]


def explained(error: BaseException) -> str:
    """What went wrong, in a line for whoever typed the command."""
    if isinstance(error, DBAPIError):
        reason = str(error.orig).partition(":")[2].strip() or str(error.orig)
        return f"the database is away: {reason}" if is_unavailable(error) else f"the database refused: {reason}"
    reason = str(error) or type(error).__name__
    # What asyncpg meets before there is a connection; a store's are errors of its own.
    connecting = isinstance(error, ConnectionError | TimeoutError | SSLError | gaierror)
    return f"the database is away: {reason}" if connecting else reason


def _line(manifest: Manifest) -> str:
    rows, tables = sum(manifest.contents.rows.values()), len(manifest.contents.rows)
    sealed = "encrypted" if manifest.encrypted else "not encrypted"
    return (
        f"{manifest.name}: {_size(manifest.size)}, {sealed}, {rows:,} rows in {tables} tables, "
        f"schema {manifest.contents.revision}, of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    )


def _size(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
