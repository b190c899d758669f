"""The place of backups that two files of tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.config import Settings
from app.crud import backups as crud
from app.services.container import Container
from tests.backup_place import Place


@pytest.fixture
async def place(settings: Settings, container: Container, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(settings, tmp_path / "backups")
    yield place
    for name in await place.databases():
        if name.startswith(place.elsewhere_name):
            await crud.drop_database(place.server.single, name)
    await place.database.close()
    await place.server.close()
