"""The folder in which the processes of one role keep their metrics, so that they add up (decision 11).

Apart from core/metrics.py, because a metric opens its file when it is defined: the folder has to be there before,
and empty.
"""

import os
from pathlib import Path

MULTIPROC = "PROMETHEUS_MULTIPROC_DIR"


def prepare_multiprocess() -> None:
    """Start from an empty folder, before any metric is imported: what dead processes left would be counted again."""
    folder = os.environ.get(MULTIPROC)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for file in Path(folder).glob("*.db"):
            file.unlink(missing_ok=True)


def leave_multiprocess() -> None:
    """For a command that serves no metrics, and so must write none into the folder of a role, if it is there at all."""
    os.environ.pop(MULTIPROC, None)


def forget_process(pid: int) -> None:
    """Drop the live gauges of a process that has ended."""
    if os.environ.get(MULTIPROC):
        from prometheus_client import multiprocess  # noqa: PLC0415 - the library looks for the folder when it is loaded

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
