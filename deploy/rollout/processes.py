"""Plain processes as a generation, where there are no containers: `python3 -m deploy.rollout.processes start|stop|run`.

A process belongs to a generation by a mark in its environment, not by a file with its number: nothing can be lost
between the start and a note of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from deploy.local import leftovers
from deploy.local.command import marked


def start(folder: Path, release: Path, programs: list[str]) -> None:
    """Each `python -m app PROGRAM` of this release in a session of its own, logging to FOLDER/PROGRAM.log."""
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs:
        metrics = folder / "metrics" / program
        metrics.mkdir(parents=True, exist_ok=True)
        with (folder / f"{program}.log").open("ab") as log:
            subprocess.Popen(
                [release / ".venv/bin/python", "-m", "app", program],
                cwd=release,
                env=marked({**_environment(), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}, folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def run(release: Path, words: list[str]) -> None:
    """Become `python -m app WORDS` of this release."""
    python = release / ".venv/bin/python"
    os.chdir(release)
    os.execve(python, [str(python), "-m", "app", *words], _environment())  # noqa: S606 - that is the point


def _environment() -> dict[str, str]:
    """A release finds its own packages, and not those of whoever starts it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def stop(folder: Path, *, grace: float) -> None:
    """SIGTERM to what was started, which ends its own children; SIGKILL to all that is left after `grace` seconds."""
    leftovers.end([one for one in leftovers.find(folder, leftovers.has_marker) if _leads(one.pid)], grace=grace)
    leftovers.end(leftovers.find(folder, leftovers.has_marker), grace=0)
    if left := leftovers.find(folder, leftovers.has_marker):
        sys.exit(f"still there: {', '.join(str(one.pid) for one in left)}")


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m deploy.rollout.processes")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start")
    starting.add_argument("folder", type=Path)
    starting.add_argument("release", type=Path)
    starting.add_argument("programs", nargs="+")
    running = commands.add_parser("run")
    running.add_argument("release", type=Path)
    running.add_argument("words", nargs=argparse.REMAINDER)
    stopping = commands.add_parser("stop")
    stopping.add_argument("folder", type=Path)
    stopping.add_argument("--grace", type=float, default=30)
    given = parser.parse_args()
    if given.command == "start":
        start(given.folder.resolve(), given.release.resolve(), given.programs)
    elif given.command == "run":
        run(given.release.resolve(), given.words)
    else:
        stop(given.folder.resolve(), grace=given.grace)
    return 0


if __name__ == "__main__":
    sys.exit(main())
