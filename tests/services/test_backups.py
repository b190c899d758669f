"""Backups and restores of a real PostgreSQL, with its own programs."""

import asyncio
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from app.__main__ import parser
from app.config import Settings
from app.core.database import Database
from app.core.database_address import DatabaseAddress
from app.core.metrics import BACKUP_LAST_SUCCESS, BACKUP_LAST_VERIFIED
from app.crud import backups as crud
from app.services.backup_commands import AGAIN_SECONDS, LOOK_SECONDS, _when_due, backup, restore, verify
from app.services.backups import BackupError, dump_key, patient_database
from app.services.container import Container
from app.services.restores import ID_GAP
from app.tasks.relay import Relay
from tests.backup_place import KEY, Place, clinic
from tests.support import World, eventually


async def test_a_restored_database_is_what_was_backed_up(place: Place, world: World) -> None:
    """Rows come back with what protects them; ids known outside are not given again, and sessions have ended."""
    await clinic(world)
    [line] = await backup(place.settings)
    assert ", encrypted, " in line
    said = await restore(place.elsewhere, "latest", replace=None)
    assert "as they were" in said[1]
    restored = World(Container_at(world.container, place.elsewhere))
    try:
        assert await restored.count("appointments") == await world.count("appointments") == 241
        assert await restored.scalar("SELECT count(*) FROM auth_sessions WHERE revoked_at IS NULL") == 0
        assert await world.scalar("SELECT count(*) FROM auth_sessions WHERE revoked_at IS NULL") == 1
        columns = "doctor_id, patient_id, starts_at, ends_at"
        again = f"INSERT INTO appointments ({columns}) SELECT {columns} FROM appointments LIMIT 1"
        with pytest.raises(DBAPIError, match="ex_appointments_no_overlap"):
            await restored.execute(again)
        with pytest.raises(DBAPIError):
            await restored.execute("DELETE FROM audit_events")
        next_id = await restored.scalar("SELECT nextval('users_id_seq')")
        assert next_id > ID_GAP + await world.scalar("SELECT max(id) FROM users")
    finally:
        await restored.database.close()


def Container_at(container: Container, settings: Settings) -> Any:  # noqa: N802
    """What `World` needs, at another database."""

    class At:
        database = Database(settings.database, role="worker", pooled=False)

    return At()


async def test_a_backup_under_writes_counts_what_it_has(place: Place, world: World) -> None:
    """Dump and counts are of one moment, however much is written meanwhile: it verifies, and is then on record."""
    await clinic(world)
    stop = asyncio.Event()

    async def write() -> int:
        number = 0
        while not stop.is_set():
            await world.execute(
                "INSERT INTO products (sku, name, price, currency) VALUES (:sku, 'P', 1, 'EUR')", sku=f"W{number}"
            )
            number += 1
        return number

    writing = asyncio.create_task(write())
    manifest = await place.service().make()
    stop.set()
    written = await writing
    assert 0 < manifest.contents.rows["products"] < written
    [line] = await verify(place.settings, manifest.name)
    assert line.startswith(f"verified {manifest.name}")
    assert not [name for name in await place.databases() if "_verify_" in name]
    await Relay.measure(_measuring(world))
    assert BACKUP_LAST_SUCCESS._value.get() > manifest.taken_at.timestamp() - 1
    assert BACKUP_LAST_VERIFIED._value.get() >= BACKUP_LAST_SUCCESS._value.get()


def _measuring(world: World) -> Any:
    class OnlyTheDatabase:
        _database = world.database

    return OnlyTheDatabase()


def _altered(place: Place, name: str) -> None:
    path = place.folder / dump_key(name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(place: Place, name: str) -> None:
    path = place.folder / dump_key(name)
    path.write_bytes(path.read_bytes()[:-20])


def _gone(place: Place, name: str) -> None:
    (place.folder / dump_key(name)).unlink()


def _manifest(**values: Any) -> Callable[[Place, str], None]:
    def change(place: Place, name: str) -> None:
        path = place.folder / "backups" / name / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["contents"] |= values.pop("contents", {})
        path.write_text(json.dumps(manifest | values))

    return change


UNFIT = [
    (_altered, "altered or cut off"),
    (_cut, "altered or cut off"),
    (_gone, "is missing"),
    (_manifest(sha256="0" * 64), "is damaged"),
    (_manifest(contents={"revision": "9999"}), "9999 this version does not know"),
    (_manifest(server_major=99), "is of PostgreSQL 99"),
    (_manifest(roles=["nobody_here"]), "no role nobody_here"),
    (_manifest(surprise=1), "damaged, or of a newer version"),
    (_manifest(taken_at="2020-01-01T00:00:00Z"), "another time: it was altered"),
    (_manifest(encrypted=False), "not encrypted, though BACKUP_KEYS is set"),
]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one backup is that several tests look at."""
    return tmp_path_factory.mktemp("shelf") / "backups"


def _take(shelf: Path, folder: Path) -> bool:
    if shelf.exists():
        shutil.copytree(shelf, folder)
    return shelf.exists()


async def _same_backup(place: Place, shelf: Path) -> str:
    if not _take(shelf, place.folder):
        await place.service().make()
        shutil.copytree(place.folder, shelf)
    [name] = await place.service().names()
    return name


@pytest.mark.parametrize(("harm", "said"), UNFIT, ids=lambda part: part if isinstance(part, str) else "")
async def test_an_unfit_backup_is_refused(
    place: Place, shelf: Path, harm: Callable[[Place, str], None], said: str
) -> None:
    """What is damaged, cut off, newer than the code or the server, is refused before anything is made."""
    name = await _same_backup(place, shelf)
    harm(place, name)
    before = await place.databases()
    with pytest.raises(BackupError, match=said):
        await place.restoring(name)
    assert await place.databases() == before


async def test_with_keys_only_what_is_sealed_restores(place: Place) -> None:
    """A dump that anybody could have put there is neither restored nor verified, unless an operator says so."""
    manifest = await place.service(keys=[]).make()
    before = await place.databases()
    for refused in (verify(place.settings, "latest"), restore(place.elsewhere, manifest.name, replace=None)):
        with pytest.raises(BackupError, match="--allow-unencrypted"):
            await refused
    assert await place.databases() == before
    [line] = await verify(place.settings, "latest", allow_unencrypted=True)
    assert ", not encrypted, " in line
    await restore(place.elsewhere, "latest", replace=None, allow_unencrypted=True)
    assert place.elsewhere_name in await place.databases()
    for command in ("restore", "verify-backup"):
        assert parser().parse_args([command, "--allow-unencrypted"]).allow_unencrypted is True
        assert parser().parse_args([command]).allow_unencrypted is False


async def test_the_wrong_key_is_refused_and_an_old_one_opens(place: Place, shelf: Path) -> None:
    """Without the key nothing is restored; after a rotation of keys older backups open still."""
    await _same_backup(place, shelf)
    other = SecretStr("another key of thirty-two bytes or more")
    for keys, said in (([other], "none of the keys"), ([], "set BACKUP_KEYS")):
        with pytest.raises(BackupError, match=said):
            await place.restoring(keys=keys)
    assert place.elsewhere_name not in await place.databases()
    done = await place.restoring(keys=[other, SecretStr(KEY)])
    assert done.database == place.elsewhere_name


async def test_counts_that_differ_fail_the_restore(place: Place, world: World) -> None:
    """A manifest that promises a row more than the dump has is found out, and the new database is gone again."""
    await clinic(world)
    manifest = await place.service().make()
    rows = manifest.contents.rows | {"users": manifest.contents.rows["users"] + 1}
    _manifest(contents={"rows": rows})(place, manifest.name)
    with pytest.raises(BackupError, match="users: 1, not 2"):
        await place.restoring()
    assert place.elsewhere_name not in await place.databases()


async def test_what_is_there_is_never_overwritten(place: Place, world: World) -> None:
    """A database that is not empty is refused; by its name it is moved aside, unless somebody uses it."""
    await clinic(world)
    await place.service().make()
    await crud.create_database(place.server.single, place.elsewhere_name)
    await place.restoring()
    with pytest.raises(BackupError, match="is not empty"):
        await place.restoring()
    with pytest.raises(BackupError, match="nothing was done"):
        await place.restoring(replace="frontdesk")
    used = patient_database(place.elsewhere, DatabaseAddress.direct(place.elsewhere.database))
    async with used.engine.connect():
        with pytest.raises(BackupError, match="stop the service first"):
            await place.restoring(replace=place.elsewhere_name)
    await used.close()
    done = await place.restoring(replace=place.elsewhere_name)
    assert {done.aside, place.elsewhere_name} <= await place.databases()
    assert not [name for name in await place.databases() if "_restoring_" in name]


async def test_two_backups_at_once_are_excluded(place: Place) -> None:
    """While one is made, another is refused and leaves nothing."""
    async with place.database.session_scope() as session:
        assert await crud.freeze(session) is not None
        with pytest.raises(BackupError, match="another backup"):
            await place.service().make()
    assert place.files() == []


async def test_the_loop_backs_up_when_it_is_time(place: Place) -> None:
    """It makes a backup when the last one is too old, none when it is not, goes on after a failure, ends on SIGTERM."""
    process = place.run("backup", "--loop")
    await eventually(place.service().names, seconds=30)
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert await _when_due(place.service()) == LOOK_SECONDS
    [first] = await place.service().names()
    # Names tell seconds: within one of them chance decides which backup is the newer one.
    await asyncio.sleep(1)
    assert await _when_due(place.service(every_hours=1e-9)) == LOOK_SECONDS
    # Of one day the newest is kept.
    assert await place.service().names() not in ([], [first])
    assert await _when_due(place.service(every_hours=1e-9, programs=place.folder)) == AGAIN_SECONDS


async def test_the_last_good_backup_is_never_pruned(place: Place, world: World) -> None:
    """Of two of one day the newest is kept; the older one stays, too, while it is the last that is known to restore."""
    first = (await place.service().make()).name
    await verify(place.settings, first)
    await place.service().make()
    newest = place.service(keep_daily=1, keep_weekly=0)
    # Within one second the random part of the names decides which one is the newest: both orders hold.
    await newest.prune()
    left = set(await newest.names())
    assert first in left
    await world.execute("UPDATE backups SET verified_at = NULL")
    third = (await place.service().make()).name
    gone = await newest.prune()
    assert await newest.names() == sorted((left | {third}) - set(gone), reverse=True)
    assert len(await newest.names()) == 1
    assert await world.count("backups") == 1
