"""The API ends, or replaces its processes, while clients ask without a pause."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hostile.process import ApiProcess
from tests.load import Asked, Load
from tests.support import API, World, eventually

CLIENTS = 16


@pytest.fixture
async def api(world: World, tmp_path: Path) -> AsyncIterator[ApiProcess]:
    """`python -m app api` over two processes, each of which is replaced after few requests."""
    values = {"API_WORKERS": "2", "API_MAX_REQUESTS": "150", "LOG_FORMAT": "json", "DATABASE_POOL_SIZE": "5"}
    server = ApiProcess(tmp_path, values)
    await server.start()
    yield server
    server.stop()


@pytest.fixture
async def asked(world: World) -> list[Asked]:
    """A read, and a write whose body takes a moment to arrive: some are always under way."""
    await world.doctor()
    headers = (await world.person()).headers | {"Content-Type": "application/json"}
    body = json.dumps({"full_name": "Pat Ient the Second"}).encode()
    return [Asked("GET", f"{API}/doctors"), Asked("PATCH", f"{API}/users/me", headers, body, pause=0.05)]


async def test_no_request_is_lost_while_processes_are_replaced_and_the_server_ends(
    api: ApiProcess, asked: list[Asked]
) -> None:
    """A process that has answered API_MAX_REQUESTS has a successor, and nobody is refused or cut off. After SIGTERM
    each request on a connection that was made has its whole answer; what comes too late is refused."""
    first = set(api.children())
    assert len(first) == 2
    load = Load(api.port, asked)
    async with load.running(CLIENTS) as tally:

        async def replaced() -> bool:
            now = set(api.children())
            return len(now) == 2 and not first & now

        await eventually(replaced, seconds=30)
        assert (set(tally.answered), tally.refused, tally.broken) == ({200}, 0, [])
        before, closed = tally.answered.total(), tally.closed
        api.signal(signal.SIGTERM)
        assert await asyncio.to_thread(api.wait, 20) == 0
        refused = tally.refused

        async def came_too_late() -> bool:
            return tally.refused > refused

        await eventually(came_too_late, every=0.01)
    assert tally.answered.total() > before, "nothing was under way"
    assert tally.closed >= closed + CLIENTS, "not every client was told that its connection ends"
    assert (set(tally.answered), tally.broken) == ({200}, [])
    print(f"{tally.answered.total()} answered, {before} of them before SIGTERM; {tally.refused} refused; none broken")
