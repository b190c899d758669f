"""Failed sign-ins are counted on Redis, and in this process while Redis is away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from limits.aio.storage import RedisStorage

from app.config import RedisSettings
from app.core.errors import RateLimited
from app.core.rate_limit import FailureLimit
from app.core.redis import make_pool
from app.services.container import Container


def limit(url: str) -> FailureLimit:
    pool = make_pool(RedisSettings.model_validate({"url": url, "timeout": 0.2}))
    storage = RedisStorage("async+" + url, implementation="redispy", connection_pool=pool)  # type: ignore[arg-type]
    return FailureLimit(storage, amount=3, window=60)


class Silent:
    """Takes connections, counts what it is asked, and never answers."""

    url = ""
    asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            self.asked += 1
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    silent = Silent()
    async with await asyncio.start_server(silent.serve, "127.0.0.1", 0) as server:
        silent.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        yield silent


@pytest.fixture
def url(container: Container) -> str:
    return container.settings.redis.url.get_secret_value()


async def refuses(failures: FailureLimit, account: str, address: str) -> bool:
    """Whether the next try is refused, for a time that makes sense."""
    try:
        await failures.check(account, address)
    except RateLimited as error:
        return 1 <= error.retry_after <= 60
    return False


async def test_the_allowed_number_of_failures_is_exact(url: str) -> None:
    """Two of three leave the account open, the third closes it, for that address alone, whatever the e-mail's case."""
    failures = limit(url)
    for _ in range(2):
        await failures.record("Pat@example.com", "10.0.0.1")
    assert not await refuses(failures, "pat@example.com", "10.0.0.1")
    await failures.record("pat@EXAMPLE.com", "10.0.0.1")
    assert await refuses(failures, "pat@example.com", "10.0.0.1")
    assert not await refuses(failures, "pat@example.com", "10.0.0.2")
    assert not await refuses(failures, "sam@example.com", "10.0.0.1")


async def test_all_processes_count_together(url: str) -> None:
    """What one process recorded, another one knows."""
    first, second = limit(url), limit(url)
    for _ in range(3):
        await first.record("pat@example.com", "10.0.0.1")
    assert await refuses(second, "pat@example.com", "10.0.0.1")


@pytest.mark.parametrize("away", ["redis://127.0.0.1:1/0", "silent"])
async def test_without_redis_this_process_counts(away: str, silent: Silent) -> None:
    """With Redis gone or mute sign-in still works and guessing is still bounded; only the first call waits for it."""
    failures = limit(silent.url if away == "silent" else away)
    assert not await refuses(failures, "pat@example.com", "10.0.0.1")
    asked = silent.asked
    assert bool(asked) is (away == "silent")
    for _ in range(3):
        await failures.record("pat@example.com", "10.0.0.1")
    assert await refuses(failures, "pat@example.com", "10.0.0.1")
    assert not await refuses(failures, "sam@example.com", "10.0.0.1")
    assert silent.asked == asked


async def test_redis_is_asked_again_when_it_may_be_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the pause the shared count rules again."""
    failures = limit(url)
    monkeypatch.setattr("app.core.rate_limit.RETRY_REDIS_AFTER", 0)
    failures._shared.shun(OSError("away"))
    for _ in range(3):
        await failures.record("pat@example.com", "10.0.0.1")
    assert await refuses(limit(url), "pat@example.com", "10.0.0.1")
