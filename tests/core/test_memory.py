"""When the garbage collector rests, and that it wakes up."""

import gc
from collections.abc import Iterator

import pytest

from app.config import Settings
from app.core.memory import YOUNGEST, rest
from app.main import create_app, lifespan


@pytest.fixture
def collector() -> Iterator[None]:
    """Left as it was found."""
    threshold = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("collector")
async def test_it_rests_until_the_service_starts(settings: Settings) -> None:
    """Asked to rest, it does so until the application runs; then it works, and passes over what was there before."""
    rest()
    application = create_app(settings)
    before = (gc.isenabled(), gc.get_freeze_count())
    async with lifespan(application):
        after = (gc.isenabled(), gc.get_threshold()[0])
        assert gc.get_freeze_count() > 50_000
    assert (before, after) == ((False, 0), (True, YOUNGEST))
