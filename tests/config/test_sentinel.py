"""The address by which sentinels are named."""

import pytest
from pydantic import SecretStr

from app.config import RedisSettings
from app.config.sentinel import Sentinels, parse_sentinels


def test_every_part_of_the_address_is_read() -> None:
    """Several hosts, of which one may leave out its port; passwords in their escaped form."""
    url = "redis+sentinel://me:p%40ss@a.example:26000,b.example,[::1]:26001/clinic/3?sentinel_password=own"
    assert parse_sentinels(url) == Sentinels(
        (("a.example", 26000), ("b.example", 26379), ("::1", 26001)), "clinic", 3, "me", "p@ss", "own"
    )
    least = Sentinels((("a", 26379),), "clinic", 0, None, None, None)
    assert parse_sentinels("redis+sentinel://a/clinic") == least


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://:hidden@a:26379",
        "redis+sentinel://:hidden@a:26379//0",
        "redis+sentinel://:hidden@a:26379/clinic/first",
        "redis+sentinel://:hidden@a:99999/clinic",
        "redis+sentinel://:hidden@a:b,c:1/clinic",
        "redis+sentinel://:hidden@a:1,,c:1/clinic",
        "redis+sentinel://:hidden@[::1/clinic",
    ],
)
def test_a_broken_address_is_a_fault(url: str) -> None:
    """It names the setting and its form, and not what was given."""
    (fault,) = RedisSettings(url=SecretStr(url)).faults()
    assert fault.startswith("REDIS_URL: must be of the form ")
    assert "redis+sentinel://user" in fault
    assert "hidden" not in fault
