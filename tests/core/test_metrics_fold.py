"""The metrics of several processes, and of those that have ended, in one folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from app.core.metrics_files import MULTIPROC, forget_process, prepare_multiprocess
from app.core.metrics_fold import JOURNAL, NEW, PAST, FolderBusy, alone, fold, sweep
from app.core.metrics_merge import text_of
from benchmarks.scrape import NOBODY, living, scrape, write_process

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
HELP = 'What it is: "a\\b"\nand more'


def write(folder: Path, pid: int, kind: str, named: str, /, value: float, *, at: float = 0, **labels: str) -> None:
    """One value of one process, written by the library's own hand."""
    file = MmapedDict(str(folder / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]
    metric = named.removesuffix("_total").removesuffix("_bucket").removesuffix("_sum")
    key = mmap_key(metric, named, list(labels), list(labels.values()), HELP)
    known, _ = file.read_value(key)  # type: ignore[no-untyped-call]
    file.write_value(key, known + value if kind in {"counter", "histogram"} else value, at)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]


def samples(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def shown(folder: Path) -> Samples:
    return samples(text_of(folder))


def of_library(folder: Path) -> Samples:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return samples(generate_latest(registry))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three processes of every kind of metric: this one, and two that have ended."""
    for number, pid in enumerate((os.getpid(), NOBODY, NOBODY + 1), start=1):
        write(tmp_path, pid, "counter", "jobs_total", number, name='a "quoted"\\ name\n')
        write(tmp_path, pid, "counter", "jobs_total", 10 * number, name="plain")
        write(tmp_path, pid, "counter", "plain_total", 0.1)
        for bound in ("0.1", "1.0", "+Inf"):
            write(tmp_path, pid, "histogram", "took_bucket", number, le=bound, route="/x/{id}")
            write(tmp_path, pid, "histogram", "bare_bucket", number, le=bound)
        write(tmp_path, pid, "histogram", "took_sum", 2.5 * number, route="/x/{id}")
        write(tmp_path, pid, "histogram", "bare_sum", 1)
        for mode in ("livesum", "sum", "min", "max", "livemin", "livemax"):
            write(tmp_path, pid, f"gauge_{mode}", mode, 5 - number)
        write(tmp_path, pid, "gauge_mostrecent", "latest", number, at=1000 + (number == 2))
        write(tmp_path, pid, "gauge_mostrecent", "never_set", 0)
        write(tmp_path, pid, "gauge_all", "each", number)
    return tmp_path


def test_the_sum_is_what_the_library_says(folder: Path) -> None:
    """With processes that all live, every sample of every kind is the one that prometheus_client's collector gives."""
    alive = (pid for pid in living() if pid != os.getpid())
    for ended, pid in zip((NOBODY, NOBODY + 1), alive, strict=False):
        for file in list(folder.glob(f"*_{ended}.db")):
            file.rename(file.with_name(file.name.replace(str(ended), str(pid))))
    expected = of_library(folder)
    assert len(expected) > 20
    assert shown(folder) == expected


def test_what_the_ended_have_counted_stays_and_their_files_go(folder: Path) -> None:
    """Counters, histograms and sums are the same before and after; the live gauges of the dead are gone."""
    before = of_library(folder)
    after = shown(folder)
    gone = {"livesum": 4.0, "livemin": 4.0, "livemax": 4.0}
    assert after == {
        key: gone.get(key[0], value)
        for key, value in before.items()
        if key[0] != "each" or dict(key[1])["pid"] == str(os.getpid())
    }
    assert {file.stem.rpartition("_")[2] for file in folder.glob("*.db")} == {str(os.getpid()), PAST}
    # A second generation on top of the first.
    write(folder, NOBODY + 2, "counter", "jobs_total", 100, name="plain")
    assert shown(folder)["jobs_total", (("name", "plain"),)] == 160


class Died(BaseException):
    """Stands for the end of the process at this very call."""


def dying_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """From the call number `step` that changes the folder on, the process is no more; tells how many there were."""
    calls = 0

    def dying(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > step:
                raise Died
            return method(*arguments, **options)

        return call

    for name in ("write_bytes", "write_text", "replace", "unlink"):
        monkeypatch.setattr(Path, name, dying(getattr(Path, name)))
    return lambda: calls


def test_a_death_at_any_step_of_folding_counts_nothing_twice_or_not_at_all(folder: Path) -> None:
    """Whoever folds may die between any two changes of the folder: the next scrape shows what was there."""
    live = {"livesum", "livemin", "livemax", "each"}

    def lasting(found: Samples) -> Samples:
        return {key: value for key, value in found.items() if key[0] not in live}

    expected, step, ended = lasting(of_library(folder)), 0, False
    while not ended:
        for number in range(2):
            write(folder, NOBODY + 10 + number, "counter", "plain_total", 1)
            expected["plain_total", ()] += 1
        with pytest.MonkeyPatch.context() as patch:
            dying_at(step, patch)
            try:
                fold(folder)
                ended = True
            except Died:
                step += 1
        assert lasting(shown(folder)) == pytest.approx(expected), f"died at step {step}"
        assert not list(folder.glob(f"*{NEW}"))
        assert not (folder / JOURNAL).exists()
    assert step > 5


def test_a_full_disk_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new file can't be written, the old ones stay and are scraped."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = of_library(folder)["jobs_total", (("name", "plain"),)]
    monkeypatch.setattr(Path, "write_bytes", full)
    sweep(folder)
    assert len(list(folder.glob(f"*_{NOBODY}.db"))) == 10
    assert shown(folder)["jobs_total", (("name", "plain"),)] == before


def test_who_stands_still_with_the_folder_blocks_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape gives up, and the end of a process goes on without folding, while a stopped process holds the lock."""
    monkeypatch.setenv(MULTIPROC, str(folder))
    program = (
        "import sys; from pathlib import Path; from app.core.metrics_fold import alone\n"
        "with alone(Path(sys.argv[1])): print('mine', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mine\n"
        holder.send_signal(signal.SIGSTOP)
        forget_process(NOBODY)
        with pytest.raises(FolderBusy), alone(folder, patience=0.05):
            pass
    finally:
        holder.kill()
        holder.wait()
    forget_process(NOBODY)
    assert not list(folder.glob(f"*_{NOBODY}.db")), "the lock of one who died is free"


def test_a_file_that_has_just_been_made_is_empty_and_no_obstacle(folder: Path) -> None:
    """Between the making of a file and its first word a scrape reads nothing of it."""
    before = shown(folder)
    (folder / f"counter_{os.getppid()}.db").touch()
    assert shown(folder) == before


def test_a_start_empties_the_folder_of_everything(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run has folded, or begun to, is not counted again."""
    monkeypatch.setenv(MULTIPROC, str(folder))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    with pytest.MonkeyPatch.context() as patch:
        dying_at(3, patch)
        with pytest.raises(Died):
            fold(folder)
    prepare_multiprocess()
    assert list(folder.iterdir()) == []


@pytest.fixture
def recycled(tmp_path: Path) -> Path:
    """A folder of eight processes that live, after a thousand others."""
    for pid, _ in zip(living(), range(8), strict=False):
        write_process(tmp_path, pid)
    write_process(tmp_path, NOBODY)
    sweep(tmp_path)
    # Their files are alike: copies of one are made faster than written.
    written = (tmp_path / f"counter_{PAST}.db").read_bytes()
    for number in range(1, 1000):
        (tmp_path / f"counter_{NOBODY + number}.db").write_bytes(written)
    return tmp_path


def test_a_thousand_recycled_processes_leave_one_file_of_a_kind(recycled: Path) -> None:
    """The next scrape takes no longer for them, and still says all that they have counted."""
    found = shown(recycled)
    assert found["frontdesk_things_total", (("name", "thing 3"),)] == 1008
    assert len(list(recycled.glob("*.db"))) == 8 * 3 + 2
    started = time.perf_counter()
    scrape(recycled)
    # Measured: docs/operations.md. This bound only tells a scrape that reads a thousand files.
    assert time.perf_counter() - started < 2
