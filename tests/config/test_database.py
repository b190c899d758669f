"""The way to the database, and the way past what stands before it."""

import pytest
from pydantic import SecretStr

from app.config import DatabaseSettings

THROUGH, PAST = (SecretStr(f"postgresql+asyncpg://me:secret@{host}/clinic") for host in ("pooler:6432", "postgres"))


def test_without_a_pooler_there_is_one_way() -> None:
    """Listening and migrations take DATABASE_URL unless told otherwise."""
    assert DatabaseSettings(url=THROUGH).direct == THROUGH
    assert DatabaseSettings(url=THROUGH, direct_url=PAST).direct == PAST
    assert not list(DatabaseSettings(url=THROUGH).faults())


@pytest.mark.parametrize("direct", ["", "redis://postgres/0"])
def test_a_pooler_needs_a_way_past_it(direct: str) -> None:
    """Behind a pooler a missing or foreign DATABASE_DIRECT_URL is a fault that names it, and no password."""
    (fault, *_) = DatabaseSettings(url=THROUGH, pooler="transaction", direct_url=SecretStr(direct)).faults()
    assert fault.startswith("DATABASE_DIRECT_URL: ")
    assert "secret" not in fault
    assert not list(DatabaseSettings(url=THROUGH, pooler="transaction", direct_url=PAST).faults())
