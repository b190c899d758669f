"""What telemetry costs: two processes of the service, everything on against everything off."""

import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.measures import API, BOOKINGS_PER_SECOND, Contender, bookings
from benchmarks.servers import BenchmarkError, Cores, Generator, Group, Server, free_port
from benchmarks.stage import CLIENTS, HOST, Stage
from benchmarks.stats import Sample, middle
from benchmarks.verdicts import at_least, table, verdict_table

PAGE = Path(__file__).with_name("TELEMETRY.md")
SAMPLED = "0.05"
ON, OFF = "all on", "all off"
ME, LIST, BOOK = "GET /users/me", "GET /appointments, 20 of 100,000", "POST /appointments"
FULL, QUICK = (8, 4, 1.5), (1, 2, 1.0)
"""How often both are started anew, turns with each start, and seconds of a turn.

Two processes of one program differ by up to a tenth for as long as they live: where things happen to lie in memory.
"""


def measure_telemetry(*, quick: bool) -> int:
    starts, turns, seconds = QUICK if quick else FULL
    cores, state = Cores.available(), Path(tempfile.mkdtemp(prefix="frontdesk-bench-"))
    state.chmod(0o755)
    stage, generator = Stage(state, cores), Generator(state / "met.json", cores.rest)
    started: list[Server] = []
    samples: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    try:
        print("starting PostgreSQL and Valkey, filling the tables", flush=True)
        stage.open()
        collector = _collector(state, cores)
        started.append(collector)
        for number in range(1, starts + 1):
            contenders = _contenders(stage, collector.port)
            started += [one.server for one in contenders.values()]
            for what in (ME, LIST, BOOK):
                these = _samples(what, contenders, generator, stage, turns=turns, seconds=seconds)
                for name, found in these.items():
                    samples[what, name] += found
                ratios[what].append(_rate(these[ON]) / _rate(these[OFF]))
                said = f"{_rates(these)}, ratio {ratios[what][-1]:.3f}"
                print(f"start {number} of {starts}, {what}: {said}", flush=True)
            for one in contenders.values():
                one.server.stop()
                started.remove(one.server)
        taken = _taken(collector)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for server in started:
            server.stop()
        generator.stop()
        stage.close()
        shutil.rmtree(state, ignore_errors=True)
    # Of each start its own: what it compares was measured within seconds, and the machine drifts over minutes.
    verdicts = [at_least(f"{what}: all on / all off", median(found), 0.9) for what, found in ratios.items()]
    shown = f"{verdict_table(verdicts)}\n\n{_figures(samples)}\n"
    print(f"\n{shown}\n{taken / 1024:.0f} KiB of spans came to the collector")
    if not taken:
        print("nothing was traced: the measurement says nothing", file=sys.stderr)
        return 1
    if not quick:
        PAGE.write_text(_document(shown, starts, turns, seconds, cores), encoding="utf-8")
    return 0 if all(verdict.met for verdict in verdicts) else 3


def _collector(state: Path, cores: Cores) -> Server:
    port = free_port()
    arguments = ["-m", "benchmarks.collector", str(port)]
    server = Server("collector", arguments, env=os.environ, port=port, core=cores.rest, log=state / "collector.log")
    server.wait_for("/", {})
    return server


def _contenders(stage: Stage, collector: int) -> dict[str, Contender]:
    on = stage.start_service("on", TELEMETRY_ENDPOINT=f"http://127.0.0.1:{collector}", TELEMETRY_SAMPLE_RATIO=SAMPLED)
    off = stage.start_service(
        "off", program=("-m", "benchmarks.dark", "api"), LOG_LEVEL="ERROR", PROMETHEUS_MULTIPROC_DIR=""
    )
    me = {"Host": HOST, "Authorization": f"Bearer {stage.service_token(stage.accounts[0])}"}
    for server in (on, off):
        server.wait_for(f"{API}/users/me", me)
    return {ON: Contender(on, API, stage.service_token), OFF: Contender(off, API, stage.service_token)}


def _samples(
    what: str, contenders: dict[str, Contender], generator: Generator, stage: Stage, *, turns: int, seconds: float
) -> dict[str, list[Sample]]:
    """Windows in turns, so that drift of the machine favours nobody."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    for turn in range(turns):
        for name in (ON, OFF) if turn % 2 else (OFF, ON):
            contender = contenders[name]
            met = generator.run(contender.server, _group(what, contender, stage, seconds), seconds=seconds)
            samples[name].append(met[what])
    return samples


def _group(what: str, contender: Contender, stage: Stage, seconds: float) -> Group:
    """The cheapest request there is, answered from memory; a read; a write with its job."""
    if what == BOOK:
        amount = int((seconds + 1) * BOOKINGS_PER_SECOND)
        return Group(what, CLIENTS, list(bookings(contender, stage, amount)), expect=201, once=True)
    if what == LIST:
        return Group(what, CLIENTS, [contender.request("GET", "/appointments?limit=20", stage.accounts[0])])
    return Group(what, CLIENTS, [contender.request("GET", "/users/me", account) for account in stage.accounts])


def _rate(samples: list[Sample]) -> float:
    return middle(samples, lambda one: one.rate)


def _rates(samples: dict[str, list[Sample]]) -> str:
    return ", ".join(f"{name} {_rate(found):.0f}/s" for name, found in samples.items())


def _taken(collector: Server) -> int:
    # The exporter sends what it has once a second.
    time.sleep(2)
    with urllib.request.urlopen(f"http://127.0.0.1:{collector.port}/") as answer:
        return int(answer.read())


def _figures(samples: dict[tuple[str, str], list[Sample]]) -> str:
    rows = [
        (
            what,
            name,
            f"{_rate(found):.0f}",
            f"{middle(found, lambda sample: sample.p50) * 1000:.1f}",
            f"{middle(found, lambda sample: sample.p99) * 1000:.1f}",
        )
        for (what, name), found in samples.items()
    ]
    return table(("request", "telemetry", "requests/s", "p50 ms", "p99 ms"), rows)


def _document(shown: str, starts: int, turns: int, seconds: float, cores: Cores) -> str:
    pinned = "not pinned" if cores.server is None else "one core for the service, another for everything else"
    return f"""# What telemetry costs

`make bench ARGS=telemetry` wrote this page: windows of {seconds:g} s, {turns} of each side in turns, by processes
that were started {starts} times, {CLIENTS} clients, {pinned}. A start has a ratio of its own,
that of the medians of its windows; the verdict is the median of these, the figures below are medians of all windows.

All on: traces at {float(SAMPLED):.0%} sampling to a collector over OTLP/HTTP, metrics in files for several processes, a
JSON line for each request. All off: no endpoint for traces, no metric kept (`benchmarks/dark.py`), no line but errors.
`GET /users/me` is the cheapest request there is: it is answered from memory and asks no engine. The list is one
statement, the booking a transaction that enqueues a mail.

{shown}"""
