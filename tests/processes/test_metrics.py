"""The metrics of API processes that come and go, as Prometheus sees them."""

import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.core.metrics_fold import alone
from tests.hostile.process import ApiProcess
from tests.support import API, eventually


@pytest.fixture
async def crowd(settings: Settings, tmp_path: Path) -> AsyncIterator[ApiProcess]:
    """Two API processes behind one port."""
    environment = {"API_WORKERS": "2", "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"), "LOG_FORMAT": "json"}
    process = ApiProcess(tmp_path, environment)
    await process.start()
    yield process
    process.stop()


def values(text: str, name: str) -> Iterator[float]:
    for line in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE):
        yield float(line)


async def test_what_a_killed_worker_has_counted_is_still_counted(crowd: ApiProcess, tmp_path: Path) -> None:
    """Both workers add up; one is killed, another takes its place: no counter falls, and gauges are of two again."""

    async def scraped() -> str:
        answer = await crowd.get("/metrics")
        assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
        return answer.body.decode()

    async def two() -> bool:
        text = await scraped()
        # The partners' circuits are looked at before anybody calls.
        assert set(values(text, "frontdesk_partner_circuit_open")) <= {0}
        shown = bool(list(values(text, "frontdesk_partner_circuit_open")))
        return shown and list(values(text, "frontdesk_processes")) == [2]

    await eventually(two, seconds=20)
    for _ in range(30):
        await crowd.get(f"{API}/doctors")
    name = "http_request_duration_seconds_count"

    async def all_counted() -> bool:
        # A request is counted after its answer has gone out.
        return sum(values(await scraped(), name)) == 30

    await eventually(all_counted)
    pids = {int(file.stem.rpartition("_")[2]) for file in (tmp_path / "metrics").glob("gauge_livesum_*.db")}
    log = crowd.log.read_text()
    victim = next(pid for pid in pids if f'"pid": {pid}' in log)
    os.kill(victim, signal.SIGKILL)

    async def replaced() -> bool:
        assert sum(values(await scraped(), name)) == 30
        left = {file.stem.rpartition("_")[2] for file in (tmp_path / "metrics").glob("*.db")}
        return str(victim) not in left and await two()

    await eventually(replaced, seconds=20)
    with alone(tmp_path / "metrics"):
        # As if a process stood still in the middle of a scrape: the next one says so, and does not hang.
        refused = await crowd.get("/metrics")
    assert (refused.status, refused.code) == (503, "unavailable")
