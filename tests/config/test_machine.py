"""How much of the machine a process may use."""

from pathlib import Path

import pytest

from app.config import ApiSettings, machine


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("50000 100000", 1), ("150000 100000", 2), ("max 100000", None), ("x", None), ("", None)],
)
def test_the_quota_of_the_container_counts(tmp_path: Path, quota: str, expected: int | None) -> None:
    """A quota is rounded up to whole cores; without one it is the machine's number."""
    without = machine.cores(tmp_path)
    (tmp_path / "cpu.max").write_text(quota)
    assert machine.cores(tmp_path) == (min(expected, without) if expected else without)


def test_the_limit_of_the_container_counts(tmp_path: Path) -> None:
    """A memory limit below the machine's size is what there is; `max` is no limit."""
    whole = machine.memory(tmp_path)
    (tmp_path / "memory.max").write_text("536870912\n")
    assert machine.memory(tmp_path) == 536_870_912
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory(tmp_path) == whole


def test_processes_follow_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 is one process a core, fewer when the memory is short, never none; a number is taken as it is."""
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine, "memory", lambda: 2_000_000_000)
    assert ApiSettings(workers=0).processes == 6
    monkeypatch.setattr(machine, "memory", lambda: 100_000_000)
    assert ApiSettings(workers=0).processes == 1
    assert ApiSettings(workers=3).processes == 3
