"""Fixtures of the tests of `deploy`: engines of their own, and small real processes to look after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.command import marked
from deploy.local.engines import PostgresEngine, ValkeyEngine

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresEngine]:
    """A cluster that forgoes durability for speed, running."""
    engine = PostgresEngine(tmp_path, settings={"fsync": "off"})
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyEngine]:
    """A Valkey, running."""
    engine = ValkeyEngine(tmp_path)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def sleeper() -> Iterator[Start]:
    """Starts a process that sleeps, with the marker of a state directory or without; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(state: Path | None = None) -> subprocess.Popen[bytes]:
        env = {name: value for name, value in os.environ.items() if name != "FRONTDESK_STATE"}
        process = subprocess.Popen(
            [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(60)"],
            env=env if state is None else marked(env, state),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Waits up to half a minute for a condition, and fails when it does not come."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "it did not come true within 30 s"
            time.sleep(0.02)

    return wait


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Start]:
    """Starts a supervisor over small programs (see `plan_of_small_programs.py`); its log is `tmp_path/log`."""
    started: list[subprocess.Popen[bytes]] = []
    script = Path(__file__).with_name("plan_of_small_programs.py")

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(script), str(tmp_path / "the state"), *arguments],
                stdout=log,
                stderr=log,
                cwd=script.parents[2],
                env={**os.environ, "PYTHONPATH": str(script.parents[2])},
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the service's own tests, which may run in the same process, play no part."""
    for name in ("DATABASE_URL", "REDIS_URL", "ENVIRONMENT", "HASHING_ROUNDS", "MAIL_DIRECTORY", "STORAGE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
