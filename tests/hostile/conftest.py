"""The service under attack is a process of its own; the tests look at it from outside alone."""

from collections.abc import AsyncIterator

import pytest

from app.config import Settings
from tests.hostile.process import ApiProcess

BODY_LIMIT = 256 * 1024
BODY_TIMEOUT = 2.0


@pytest.fixture(scope="session")
async def api(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiProcess]:
    """On the tests' engines, so that `world` makes what the requests speak of."""
    environment = {
        "API_BODY_LIMIT": str(BODY_LIMIT),
        "API_BODY_TIMEOUT": str(BODY_TIMEOUT),
        # No worker runs here, so the stream of a job would last for as long as it may.
        "STREAMS_LIFETIME": "0.2",
        "LOG_FORMAT": "json",
    }
    process = ApiProcess(tmp_path_factory.mktemp("api"), environment)
    await process.start()
    yield process
    process.stop()
