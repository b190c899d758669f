"""How many threads hash."""

import asyncio
import threading

import pytest

from app.config import HashingSettings
from app.core import hashing


@pytest.mark.parametrize(
    ("cores", "processes", "threads", "at_once"), [(1, 1, None, 1), (4, 2, None, 2), (2, 4, None, 1), (1, 1, 3, 3)]
)
async def test_the_processes_share_the_cores(
    cores: int, processes: int, threads: int | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many hashes run at once as its share of the cores, at least one, unless the settings say otherwise."""
    monkeypatch.setattr(hashing, "_cores", lambda: cores)
    hasher = hashing.PasswordHasher(HashingSettings(rounds=4, threads=threads), processes=processes)
    running, gate = threading.Semaphore(0), threading.Event()

    def occupy(*_: object) -> bool:
        running.release()
        gate.wait(5)
        return False

    monkeypatch.setattr(hasher, "_verify", occupy)
    try:
        calls = [asyncio.create_task(hasher.verify("x", None)) for _ in range(at_once + 2)]
        for _ in range(at_once):
            assert await asyncio.to_thread(running.acquire, timeout=5)
        assert hasher.waiting == 2
        gate.set()
        assert await asyncio.gather(*calls) == [False] * (at_once + 2)
    finally:
        gate.set()
        hasher.close()
