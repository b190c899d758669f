"""The archive of every moment: a crash under load, and what is there after a restore."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.config import Settings
from app.core.database import Base
from app.core.database_address import DatabaseAddress
from app.main import create_app
from app.services.container import build
from deploy.local.engines import PostgresEngine
from deploy.local.postgres import binaries
from tests.support import API, World, clinic_time, eventually, next_weekday

SCRIPTS = Path(__file__).resolve().parents[2] / "deploy" / "postgres"


class Clinic:
    """A server that archives, and where its base backups and its archive are."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bases, self.archive = folder, folder / "bases", folder / "archive"
        self.archive.mkdir(mode=0o777)
        self.archive.chmod(0o777)  # the server has an account of its own
        archiving = {
            "wal_level": "replica",
            "archive_mode": "on",
            "archive_command": f"{SCRIPTS / 'archive-wal.sh'} {self.archive} %p %f",
            "fsync": "off",
        }
        self.engine = PostgresEngine(folder / "first", settings=archiving)

    def script(self, name: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{binaries()}:{os.environ['PATH']}"
        own = DatabaseAddress(self.engine.url).environment() if name == "base-backup.sh" else {}
        return subprocess.run(
            [SCRIPTS / name, *arguments],
            env=os.environ | {"PATH": path} | own | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def restored(self, name: str, **environment: str) -> PostgresEngine:
        """A server on what `restore-moment.sh` makes, not started."""
        state = self.folder / name
        state.mkdir()
        shutil.copy(self.engine.state / "postgres.password", state)
        base = max(path for path in self.bases.iterdir() if path.name[0].isdigit())
        done = self.script("restore-moment.sh", base, self.archive, state / "postgres", **environment)
        assert done.returncode == 0, done.stderr
        return PostgresEngine(state, settings={"fsync": "off"})


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    clinic = Clinic(tmp_path)
    clinic.engine.start()
    yield clinic
    clinic.engine.stop()


class Bookers:
    """Patients who book one slot after the other; `booked` has what was acknowledged with 201."""

    def __init__(self, world: World, client: httpx.AsyncClient) -> None:
        self.world, self.client = world, client
        self.booked: list[int] = []
        self._slots = count()

    async def book(self, doctor_id: int) -> None:
        person = await self.world.person()
        for number in self._slots:
            day = next_weekday() + timedelta(days=number // 20)
            body = {"doctor_id": doctor_id, "starts_at": clinic_time(self.world.container, day, f"{number % 20:02}:00")}
            made = await self.client.post(f"{API}/appointments", json=body, headers=person.headers)
            if made.status_code >= 500:
                return  # the server is gone
            if made.status_code == 201:
                self.booked.append(made.json()["id"])


async def present(engine: PostgresEngine, settings: Settings) -> set[int]:
    engine.start()
    address = settings.database.model_copy(update={"url": SecretStr(engine.url)})
    container = build(settings.model_copy(update={"database": address}), role="worker", pooled=False)
    try:
        return {row.id for row in await World(container).rows("SELECT id FROM appointments")}
    finally:
        await container.close()
        engine.stop()


@pytest.mark.slow
async def test_a_crash_loses_nothing_that_was_committed(settings: Settings, clinic: Clinic) -> None:
    """Base backup under load, SIGKILL under load: from the archive alone every booking up to its last segment is there,
    and with the dead server's own WAL every one that was acknowledged."""
    url = settings.database.model_copy(update={"url": SecretStr(clinic.engine.url)})
    here = settings.model_copy(update={"database": url})
    container = build(here, role="api")
    async with container.database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await container.keys.ensure()
    world, app = World(container), create_app(here)
    app.state.container = container
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        bookers = Bookers(world, client)
        load = [asyncio.create_task(bookers.book(await world.doctor())) for _ in range(2)]

        async def more() -> None:
            goal = len(bookers.booked) + 6

            async def reached() -> bool:
                return len(bookers.booked) >= goal

            await eventually(reached)

        await more()
        done = await asyncio.to_thread(clinic.script, "base-backup.sh", clinic.bases, clinic.archive)
        assert done.returncode == 0, done.stderr
        await more()
        archived = set(bookers.booked)
        segment = await world.scalar("SELECT pg_walfile_name(pg_switch_wal())")

        async def is_archived() -> bool:
            return (clinic.archive / str(segment)).exists()

        await eventually(is_archived)
        await more()
        assert clinic.engine._process is not None
        clinic.engine._process.kill()
        await asyncio.gather(*load)
    await container.close()
    acknowledged = set(bookers.booked)
    assert len(acknowledged) > len(archived) > 10
    from_archive = await present(clinic.restored("second"), settings)
    assert from_archive >= archived
    pg_wal = str(clinic.engine.directory / "pg_wal")
    assert await present(clinic.restored("third", PG_WAL=pg_wal), settings) >= acknowledged


@pytest.mark.slow
async def test_base_backups_are_checked_and_cut_back(clinic: Clinic) -> None:
    """Of two the newest stays, with the WAL that it needs, and so does what is no base backup; to keep none is refused.
    A damaged one is not restored, nothing is overwritten."""
    (clinic.bases / "lost+found").mkdir(parents=True)
    assert clinic.script("base-backup.sh", clinic.bases, clinic.archive, "0").returncode == 2
    for _ in range(2):
        done = await asyncio.to_thread(clinic.script, "base-backup.sh", clinic.bases, clinic.archive, "1")
        assert done.returncode == 0, done.stderr
        await asyncio.sleep(1)  # their names are seconds
    [base] = [path for path in clinic.bases.iterdir() if path.name[0].isdigit()]
    assert (clinic.bases / "lost+found").is_dir()
    first = (base / "backup_label").read_text().split("(file ")[1][:24]
    assert min(path.name for path in clinic.archive.iterdir() if len(path.name) == 24) == first
    data = clinic.folder / "data"
    data.mkdir()
    (data / "mine").touch()
    refused = clinic.script("restore-moment.sh", base, clinic.archive, data)
    assert "is not empty" in refused.stderr
    (data / "mine").unlink()
    (base / "PG_VERSION").write_text("17\n")
    refused = clinic.script("restore-moment.sh", base, clinic.archive, data)
    assert "PG_VERSION" in refused.stdout + refused.stderr
    assert list(data.iterdir()) == []


def test_an_archived_segment_is_never_replaced(tmp_path: Path) -> None:
    """The same segment again is fine, another one under its name is refused, and nothing half-written is left."""
    archive, one, other = tmp_path / "archive", tmp_path / "one", tmp_path / "other"
    archive.mkdir()
    one.write_bytes(b"1" * 1000)
    other.write_bytes(b"2" * 1000)

    def keep(path: Path) -> int:
        command = [str(SCRIPTS / "archive-wal.sh"), str(archive), str(path), "000000010000000000000001"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert (keep(one), keep(one), keep(other)) == (0, 0, 1)
    assert [path.read_bytes() for path in archive.iterdir()] == [b"1" * 1000]


def test_a_segment_that_comes_meanwhile_is_not_called_archived(tmp_path: Path) -> None:
    """When another one gets its name while a segment is copied, that one stays and the archiving has failed."""
    archive, one, name = tmp_path / "archive", tmp_path / "one", "000000010000000000000001"
    archive.mkdir()
    one.write_bytes(b"1" * 1000)
    (tmp_path / "dd").write_text(f'#!/bin/sh\n/bin/dd "$@" && printf other >{archive / name}\n')
    (tmp_path / "dd").chmod(0o755)
    command = [str(SCRIPTS / "archive-wal.sh"), str(archive), str(one), name]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    assert (done.returncode, "meanwhile" in done.stderr) == (1, True)
    assert {path.name: path.read_text() for path in archive.iterdir()} == {name: "other"}
