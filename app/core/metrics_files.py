"""The folder in which the processes of one role keep their metrics, so that they add up (decision 11).

Apart from core/metrics.py, because a metric opens its file when it is defined: the folder has to be there before,
and empty.
"""

import os
from pathlib import Path

MULTIPROC = "PROMETHEUS_MULTIPROC_DIR"


def metrics_folder() -> Path | None:
    """The folder, when several processes share one."""
    folder = os.environ.get(MULTIPROC)
    return Path(folder) if folder else None


def prepare_multiprocess() -> None:
    """Start from an empty folder, before any metric is imported: what dead processes left would be counted again."""
    folder = metrics_folder()
    if folder is None:
        # An empty value is none to us; the library would take it for the working directory.
        leave_multiprocess()
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            if file.is_file():
                file.unlink(missing_ok=True)
        _ask_for_the_pid_once()


def _ask_for_the_pid_once() -> None:
    """Tell the library of a fork when there is one: by itself it asks the kernel at each count, thrice a request."""
    from prometheus_client import values  # noqa: PLC0415 - it looks for the folder when it is loaded

    pid = os.getpid()

    def forked() -> None:
        nonlocal pid
        pid = os.getpid()

    os.register_at_fork(after_in_child=forked)
    values.ValueClass = values.MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]


def leave_multiprocess() -> None:
    """For a command that serves no metrics, and so must write none into the folder of a role, if it is there at all."""
    os.environ.pop(MULTIPROC, None)


def forget_process(pid: int) -> None:
    """A process has ended: its live gauges go, and what it has counted is added to what others had."""
    folder = metrics_folder()
    if folder is not None:
        from prometheus_client import multiprocess  # noqa: PLC0415 - the library looks for the folder when it is loaded

        from app.core.metrics_fold import sweep  # noqa: PLC0415

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
        sweep(folder)
