"""What is no backup leaves none, and says so in a line."""

import asyncio
import re
import resource
from contextlib import suppress
from pathlib import Path
from ssl import SSLError

import pytest

from app.integrations.postgres_programs import ProgramError, find_program
from app.services.backup_commands import explained
from app.services.backups import BackupError
from tests.backup_place import Place, clinic
from tests.support import World, eventually


def _no_space() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


async def test_a_full_disk_leaves_no_backup(place: Place, world: World) -> None:
    """When the disk is full it ends with 1 and one line, and there is no file at all."""
    await clinic(world)
    process = place.run("backup", preexec_fn=_no_space)
    _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 1
    assert "File too large" in said
    assert "Traceback" not in said
    assert place.files() == []


async def test_a_folder_that_takes_nothing_is_one_line(place: Place, world: World) -> None:
    """It ends with 1 and says what is wrong, and nothing of what it left to others to close."""
    place.folder.mkdir()
    (place.folder / "backups").write_text("a file")
    process = place.run("backup", keys="")
    logged, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 1
    assert logged == ""
    (line,) = said.splitlines()
    assert "Not a directory" in line


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(111, "Connect call failed"), TimeoutError(), SSLError(1, "CERTIFICATE_VERIFY_FAILED")],
)
def test_a_database_that_is_not_reached_is_called_away(error: OSError) -> None:
    """What the driver meets before there is a connection, the runbook knows by one name."""
    assert re.match(r"the database is away: .+", explained(error))


async def test_a_killed_backup_leaves_no_backup(place: Place, world: World) -> None:
    """Killed half-way it leaves nothing that looks like a backup, and the next one removes what it did leave."""
    async with world.database.engine.connect() as held:
        await held.exec_driver_sql("BEGIN")
        await held.exec_driver_sql("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        process = place.run("backup")

        async def writing() -> bool:
            return any(name.endswith(".tmp") for name in place.files())

        await eventually(writing, seconds=30)
        process.kill()
        await asyncio.to_thread(process.communicate)
        await held.exec_driver_sql("ROLLBACK")
    assert await place.service().names() == []
    assert len(place.files()) == 1

    async def free() -> bool:
        with suppress(BackupError):
            await place.service().make()
            return True
        return False

    # The server notices at its own pace that the one who held the lock is gone.
    await eventually(free)
    assert place.files() == ["database.dump", "manifest.json"]


async def test_programs_of_another_version_are_not_used(tmp_path: Path) -> None:
    """A pg_dump of another major version is refused by name; the one that fits is found."""
    fake = tmp_path / "pg_dump"
    fake.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.1'\n")
    fake.chmod(0o755)
    with pytest.raises(ProgramError, match=r"of PostgreSQL 18 is needed.*version 12"):
        await find_program("pg_dump", major=18, folder=tmp_path)
    assert (await find_program("pg_dump", major=18, folder=None)).is_file()


async def test_a_dump_that_fails_is_no_backup(place: Place, tmp_path: Path) -> None:
    """When pg_dump writes half and then fails, its words are passed on and nothing is kept."""
    fake = tmp_path / "pg_dump"
    fake.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 18.0' && exit\n"
        "head -c 3000000 /dev/zero\necho 'the table is broken' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    with pytest.raises(ProgramError, match="exit code 1: the table is broken"):
        await place.service(programs=tmp_path).make()
    assert place.files() == []
