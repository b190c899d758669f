"""How long a scrape takes: `python -m benchmarks.scrape [processes] [recycled]`.

Fills a folder as so many API processes would that have answered every route, and recycles so many more; then scrapes.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from app.core.metrics_fold import sweep
from app.core.metrics_merge import text_of

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
ROUTES, STATUSES, COUNTERS, GAUGES = 90, ("2xx", "4xx"), 150, 40
# No system gives a process such a number, so nobody has it.
NOBODY = 10_000_000


def series() -> Iterator[tuple[str, str]]:
    """(kind of file, key) of what an API process keeps: a histogram for each route and status, counters, gauges."""
    name = "http_request_duration_seconds"
    for route in range(ROUTES):
        for status in STATUSES:
            labels = {"method": "GET", "handler": f"/api/v1/things/{{thing_id}}/parts/{route}", "status": status}
            yield "histogram", mmap_key(f"{name}", f"{name}_sum", list(labels), list(labels.values()), "Duration")
            for bound in (*BOUNDS, float("inf")):
                with_bound = labels | {"le": str(bound).replace("inf", "+Inf")}
                key = mmap_key(name, f"{name}_bucket", list(with_bound), list(with_bound.values()), "Duration")
                yield "histogram", key
    for number in range(COUNTERS):
        yield "counter", mmap_key("frontdesk_things", "frontdesk_things_total", ["name"], [f"thing {number}"], "Things")
    for number in range(GAUGES):
        yield "gauge_livesum", mmap_key("frontdesk_load", "frontdesk_load", ["name"], [f"load {number}"], "Load")


def write_process(folder: Path, pid: int, value: float = 1.0) -> None:
    """The files of one process, written by the library's own hand."""
    files: dict[str, MmapedDict] = {}
    for kind, key in series():
        if kind not in files:
            files[kind] = MmapedDict(str(folder / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]
        files[kind].write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    for file in files.values():
        file.close()  # type: ignore[no-untyped-call]


def living() -> Iterator[int]:
    """Processes that are there: any will do."""
    yield from (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def scrape(folder: Path) -> float:
    """Seconds for one answer to Prometheus."""
    started = time.perf_counter()
    assert text_of(folder)
    return time.perf_counter() - started


def main() -> int:
    processes, recycled = (int(one) for one in (*sys.argv[1:], "8", "1000")[:2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for pid, _ in zip(living(), range(processes), strict=False):
            write_process(folder, pid)
        folding = []
        for number in range(recycled):
            write_process(folder, NOBODY + number)
            started = time.perf_counter()
            sweep(folder)
            folding.append(time.perf_counter() - started)
        scrapes = [scrape(folder) for _ in range(20)]
        print(
            f"{processes} processes, {recycled} recycled, {sum(1 for _ in series())} values in each: "
            f"scrape {1000 * statistics.median(scrapes):.0f} ms (worst {1000 * max(scrapes):.0f}), "
            f"{len(list(folder.glob('*.db')))} files; at the end of a process "
            f"{1000 * statistics.median(folding or [0]):.1f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
