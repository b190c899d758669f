"""The job measures: run them all, print the tables, write JOBS.md."""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from app.config import Settings, get_settings
from app.core.logging import configure_logging
from benchmarks.jobs.measures import FULL, QUICK, Run
from benchmarks.jobs.report import document, figures, verdicts
from benchmarks.jobs.stage import JobStage
from benchmarks.servers import BenchmarkError, Cores
from benchmarks.verdicts import verdict_table

RESULTS = Path(__file__).parents[1] / "JOBS.md"


def main(*, quick: bool) -> int:
    sizes, cores = QUICK if quick else FULL, Cores.available()
    began = time.perf_counter()

    def say(line: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {line}", flush=True)

    state = Path(tempfile.mkdtemp(prefix="frontdesk-bench-"))
    # PostgreSQL runs as another account when we are root.
    state.chmod(0o755)
    stage = JobStage(state, cores)
    run = Run(stage, sizes, say)
    try:
        say("starting PostgreSQL and Valkey")
        stage.open()
        os.environ.update(stage.env())
        Settings.model_config["env_file"] = None
        get_settings.cache_clear()
        configure_logging(get_settings().log.model_copy(update={"level": "ERROR"}), process="bench")
        uvloop.run(run.all())
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        stage.close()
        shutil.rmtree(state, ignore_errors=True)
    shown = verdicts(run.results)
    print(f"\n{verdict_table(shown)}\n\n{figures(run.results)}\n")
    if not quick:
        RESULTS.write_text(document(run.results, sizes), encoding="utf-8")
        say(f"wrote {RESULTS.parent.name}/{RESULTS.name}")
    return 0 if all(one.met is not False for one in shown) else 3
