"""A place of backups, for the tests of what is made and of what is not."""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.config import Settings
from app.core.database_address import DatabaseAddress
from app.crud import backups as crud
from app.services.backups import BackupService, make_backup_storage, patient_database
from app.services.restores import RestoreService
from tests.support import World

ROOT = Path(__file__).resolve().parents[1]
KEY = "a key of at least thirty-two bytes"
_numbers = count(1)


class Place:
    """A folder of backups, the database that they are of, and another name to restore to."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.folder = folder
        self.settings = self._with(settings, keys=[SecretStr(KEY)], directory=folder)
        self.elsewhere_name = f"restored_{next(_numbers)}"
        url = DatabaseAddress.direct(settings.database).other(self.elsewhere_name).url
        database = settings.database.model_copy(update={"url": SecretStr(url), "direct_url": SecretStr("")})
        self.elsewhere = self.settings.model_copy(update={"database": database})
        self.address = DatabaseAddress.direct(settings.database)
        self.database = patient_database(settings, self.address)
        self.server = patient_database(settings, self.address.other("postgres"))

    @staticmethod
    def _with(settings: Settings, **values: Any) -> Settings:
        return settings.model_copy(update={"backup": settings.backup.model_copy(update=values)})

    def service(self, **values: Any) -> BackupService:
        settings = self._with(self.settings, **values)
        return BackupService(settings.backup, self.address, self.database, make_backup_storage(settings))

    async def restoring(self, name: str = "latest", *, replace: str | None = None, **values: Any) -> Any:
        settings = self._with(self.elsewhere, **values)
        service = RestoreService(settings, self.service(), DatabaseAddress.direct(settings.database))
        return await service.restore(name, replace=replace)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    async def databases(self) -> set[str]:
        return await crud.database_names(self.server.read)

    def run(self, *arguments: str, keys: str = KEY, **options: Any) -> subprocess.Popen[str]:
        """`python -m app …`, as an operator has it."""
        environment = os.environ | {"BACKUP_DIRECTORY": str(self.folder), "BACKUP_KEYS": keys, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "app", *arguments],
            env=environment,
            cwd=self.folder.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )


async def clinic(world: World) -> None:
    """A day's rows: people with sessions, a doctor, bookings, an audit record."""
    patient, doctor = await world.person(), await world.doctor()
    await world.execute(
        "INSERT INTO appointments (doctor_id, patient_id, starts_at, ends_at) SELECT :doctor, :patient, at, "
        "at + interval '30 min' FROM generate_series(now(), now() + interval '10 days', interval '1 hour') AS at",
        doctor=doctor,
        patient=patient.id,
    )
    await world.execute(
        "INSERT INTO audit_events (actor_type, action, object_type) VALUES ('system', 'user.created', 'user')"
    )
