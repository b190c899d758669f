"""`python -m benchmarks [api|jobs|telemetry]`: measure, print tables, write RESULTS.md, JOBS.md, TELEMETRY.md."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.jobs.run import main as measure_jobs
from benchmarks.measures import FULL, QUICK, Run
from benchmarks.report import document, figures, quiet, verdicts
from benchmarks.servers import BenchmarkError, Cores, Generator
from benchmarks.stage import Stage
from benchmarks.telemetry import measure_telemetry
from benchmarks.verdicts import verdict_table

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("api", "jobs", "telemetry"), help="one of them alone")
    parser.add_argument("--quick", action="store_true", help="one short round, the pages untouched")
    arguments = parser.parse_args()
    parts = {"api": measure_api, "jobs": measure_jobs, "telemetry": measure_telemetry}
    wanted = [parts[arguments.what]] if arguments.what else list(parts.values())
    return max(part(quick=arguments.quick) for part in wanted)


def measure_api(*, quick: bool) -> int:
    windows, cores = QUICK if quick else FULL, Cores.available()
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {text}", flush=True)

    state = Path(tempfile.mkdtemp(prefix="frontdesk-bench-"))
    # PostgreSQL runs as another account when we are root.
    state.chmod(0o755)
    stage, generator = Stage(state, cores), Generator(state / "met.json", cores.rest)
    run = Run(stage, generator, windows, say)
    try:
        say("starting PostgreSQL and Valkey, filling the tables")
        stage.open()
        say("starting the contenders")
        run.start()
        run.ceiling()
        run.rounds()
        run.burst()
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        run.stop()
        generator.stop()
        stage.close()
        shutil.rmtree(state, ignore_errors=True)
    shown = verdicts(run.results)
    print(f"\n{verdict_table(shown)}\n\n{figures(run.results)}\n\n{quiet(run.results)}\n")
    if not quick:
        RESULTS.write_text(document(run.results, windows, cores, cpu_count=os.cpu_count() or 1), encoding="utf-8")
        say(f"wrote {RESULTS.parent.name}/{RESULTS.name}")
    return 0 if all(one.met is not False for one in shown) else 3


if __name__ == "__main__":
    sys.exit(main())
