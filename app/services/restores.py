"""Restoring a backup: checked before anything is touched, all or nothing, counted afterwards (decision 0090)."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.core.database import Database
from app.core.database_address import DatabaseAddress
from app.core.logging import get_logger
from app.core.sealed_stream import StreamBroken, opened
from app.crud import backups
from app.integrations.postgres_programs import feed, find_program
from app.integrations.storage import ObjectMissing
from app.schemas.backups import Contents, Manifest
from app.services.appointments import AppointmentService
from app.services.backups import BackupError, BackupService, Measured, contents_of, dump_key, patient_database
from app.services.erasure import ErasureService
from app.services.orders import OrderService
from app.services.readiness import head_revision, known_revisions

log = get_logger(__name__)
# One transaction: a restore that is killed leaves an empty database, not half a one.
_RESTORE = ("--format=custom", "--single-transaction", "--exit-on-error", "--no-owner", "--no-password")
ID_GAP = 1_000_000
"""Ids given out between the backup and the loss are known outside, as in mails and tokens: they are not given again."""


@dataclass(frozen=True, slots=True)
class Restored:
    """`aside` is the name that the database which was there has now."""

    manifest: Manifest
    database: str
    aside: str | None
    sessions_ended: int
    erased: int


@dataclass(frozen=True, slots=True)
class RestoreService:
    """With keys, only what is sealed with one of them is taken, unless `allow_unencrypted`."""

    settings: Settings
    backups: BackupService
    address: DatabaseAddress
    allow_unencrypted: bool = False

    async def check(self, name: str) -> Manifest:
        """Read all of the backup once: its sum, its seal, and whether this code and this server can take it.

        Raises BackupError, StorageUnavailable.
        """
        manifest = await self.backups.manifest(name)
        if self.settings.backup.keys and not manifest.encrypted and not self.allow_unencrypted:
            raise BackupError(
                f"{manifest.name} is not encrypted, though BACKUP_KEYS is set: whoever can write to the store may have "
                "put it there. If you know that it was made before there were keys, give --allow-unencrypted"
            )
        if manifest.contents.revision not in known_revisions():
            raise BackupError(
                f"{manifest.name} was made by version {manifest.app_version}, whose schema "
                f"{manifest.contents.revision} this version does not know: restore it with that version or a newer one"
            )
        async for _ in self._dump(manifest):
            pass
        return manifest

    async def restore(self, name: str, *, replace: str | None) -> Restored:
        """Restore into the database of the settings, which must be missing or empty.

        `replace` is its name, given to have it moved aside if it is not: it is restored beside it, and the two change
        names once everything was found right. Nothing is ever deleted. Raises BackupError, ProgramError.
        """
        if replace is not None and replace != self.address.name:
            raise BackupError(f"the database of these settings is {self.address.name}, not {replace}: nothing was done")
        manifest = await self.check(name)
        async with self._connected(self.address.other("postgres")) as server:
            await self._check_server(server, manifest)
            there = self.address.name in await backups.database_names(server.read)
            if not there or await self._is_empty():
                return Restored(
                    manifest, self.address.name, None, *await self._into_place(server, manifest, make=not there)
                )
            if replace is None:
                raise BackupError(
                    f"the database {self.address.name} is not empty: nothing was done. "
                    f"`--replace {self.address.name}` moves it aside and puts the backup in its place"
                )
            return await self._beside(server, manifest)

    async def verify(self, name: str) -> Manifest:
        """Restore into a database that is thrown away, and compare. Raises BackupError, ProgramError."""
        manifest = await self.check(name)
        async with self._connected(self.address.other("postgres")) as server:
            await self._check_server(server, manifest)
            async with server.session_scope() as session:
                if not await backups.try_turn(session, backups.VERIFY_LOCK):
                    raise BackupError("another backup is being verified")
                prefix = f"{self.address.name}_verify_"
                for left in await backups.database_names(server.read):
                    if left.startswith(prefix):
                        await backups.drop_database(server.single, left)
                await self._try_in(server, f"{prefix}{secrets.token_hex(4)}", manifest)
        try:
            async with self.backups.database.session_scope() as session:
                await backups.mark_verified(session, manifest.name)
        except DBAPIError:
            # The backup is good all the same: verified on another server, or where there is no database yet.
            log.warning("verified, but not noted: the database of the settings has no record of backups")
        return manifest

    async def _try_in(self, server: Database, name: str, manifest: Manifest) -> None:
        await backups.create_database(server.single, name)
        try:
            await self._fill(name, manifest)
        finally:
            await backups.drop_database(server.single, name)

    async def _into_place(self, server: Database, manifest: Manifest, *, make: bool) -> tuple[int, int]:
        if make:
            await backups.create_database(server.single, self.address.name)
        try:
            await self._fill(self.address.name, manifest)
            return await self._take_up(self.address.name, manifest)
        except BaseException:
            if make:
                await backups.drop_database(server.single, self.address.name)
            raise

    async def _beside(self, server: Database, manifest: Manifest) -> Restored:
        """Everything that may fail is done before the names change."""
        name, now = self.address.name, datetime.now(UTC)
        await self._refuse_while_used(server)
        fresh, aside = f"{name}_restoring_{secrets.token_hex(4)}", f"{name}_replaced_{now:%Y%m%d%H%M%S}"
        await backups.create_database(server.single, fresh)
        try:
            await self._fill(fresh, manifest)
            done = await self._take_up(fresh, manifest)
            await self._refuse_while_used(server)
            async with server.session_scope() as session:
                await backups.swap_databases(session, name=name, aside=aside, successor=fresh)
        except BaseException:
            await backups.drop_database(server.single, fresh)
            raise
        return Restored(manifest, name, aside, *done)

    async def _refuse_while_used(self, server: Database) -> None:
        if number := await backups.connections_to(server.read, self.address.name):
            raise BackupError(
                f"{number} connections use the database {self.address.name}: stop the service first. It is as it was"
            )

    async def _check_server(self, server: Database, manifest: Manifest) -> None:
        major = await backups.server_major(server.read)
        if major < manifest.server_major:
            raise BackupError(f"{manifest.name} is of PostgreSQL {manifest.server_major}, this server is {major}")
        if missing := await backups.missing_roles(server.read, manifest.roles):
            raise BackupError(
                f"the server has no role {', '.join(missing)}, which the backup grants privileges to: "
                "make them first (docs/operations.md, the audit record)"
            )

    async def _fill(self, name: str, manifest: Manifest) -> None:
        """Restore into the empty database `name`, and compare what is there with the manifest."""
        address = self.address.other(name)
        async with self._connected(self.address.other("postgres")) as server:
            major = await backups.server_major(server.read)
        program = await find_program("pg_restore", major=major, folder=self.settings.backup.programs)
        await feed(
            program, *_RESTORE, f"--dbname={name}", environment=address.environment(), chunks=self._dump(manifest)
        )
        async with self._connected(address) as database, database.session_scope() as session:
            found = await contents_of(session)
        if differences := _differences(manifest.contents, found):
            raise BackupError(f"what was restored is not what was backed up: {'; '.join(differences)}")

    async def _take_up(self, name: str, manifest: Manifest) -> tuple[int, int]:
        """What the world has seen since the backup must not come again; how many sessions were ended, people erased."""
        async with self._connected(self.address.other(name)) as database:
            async with database.session_scope() as session:
                await backups.skip_ids(session, ID_GAP)
                ended = await backups.end_sessions(session)
            if manifest.contents.revision != head_revision():
                return ended, 0  # these tables are not those that the code knows: after the migration, by hand
            appointments, orders = AppointmentService(self.settings.clinic.zone), OrderService(self.settings.orders)
            erasure = ErasureService(database, self.backups.storage, appointments, orders)
            return ended, len(await erasure.erase_again(since=manifest.taken_at))

    async def _dump(self, manifest: Manifest) -> AsyncIterator[bytes]:
        """The dump, as pg_dump wrote it. Raises BackupError at the latest before its end when it is not whole."""
        keys = [key.get_secret_value().encode() for key in self.settings.backup.keys]
        stored = Measured(self.backups.storage.open(dump_key(manifest.name)))
        chunks = aiter(stored)
        if manifest.encrypted:
            if not keys:
                raise BackupError(f"{manifest.name} is encrypted: set BACKUP_KEYS")
            chunks = opened(chunks, keys=keys, purpose=manifest.name)
        try:
            async for chunk in chunks:
                yield chunk
        except StreamBroken as error:
            raise BackupError(f"{manifest.name} can't be opened: {error}") from error
        except ObjectMissing as error:
            raise BackupError(f"the dump of {manifest.name} is missing") from error
        if (stored.size, stored.digest.hexdigest()) != (manifest.size, manifest.sha256):
            raise BackupError(
                f"{manifest.name} is damaged: {stored.size} bytes with the sum {stored.digest.hexdigest()}, "
                f"not {manifest.size} with {manifest.sha256}"
            )

    async def _is_empty(self) -> bool:
        async with self._connected(self.address) as database:
            return await backups.is_empty(database.read)

    @asynccontextmanager
    async def _connected(self, address: DatabaseAddress) -> AsyncIterator[Database]:
        database = patient_database(self.settings, address)
        try:
            yield database
        finally:
            await database.close()


def _differences(wanted: Contents, found: Contents) -> list[str]:
    tables = sorted(wanted.rows.keys() | found.rows.keys())
    counts = [(name, wanted.rows.get(name, "no table"), found.rows.get(name, "no table")) for name in tables]
    lines = [f"{name}: {after}, not {before}" for name, before, after in counts if before != after]
    for kind in ("constraints", "indexes", "triggers"):
        missing = sorted(set(getattr(wanted, kind)) - set(getattr(found, kind)))
        lines += [f"{kind} missing: {', '.join(missing)}"] if missing else []
    if wanted.revision != found.revision:
        lines.append(f"revision {found.revision}, not {wanted.revision}")
    return lines
