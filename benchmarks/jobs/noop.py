"""`python -m benchmarks.jobs.noop NAME`: `python -m app NAME`, whose workers also know jobs that do nothing."""

import sys
import time
from typing import Any, ClassVar
from unittest.mock import patch

from app import __main__ as program
from app.core.metrics_files import prepare_multiprocess

if __name__ == "__main__":
    # Nothing that defines a metric may be imported earlier.
    prepare_multiprocess()

from app.core.jobs import JobMessage, Queue


class Noop(JobMessage):
    name: ClassVar[str] = "bench.noop"


class CpuNoop(Noop):
    name: ClassVar[str] = "bench.cpu_noop"
    queue: ClassVar[Queue] = Queue.CPU


class Started(JobMessage):
    """Its result is the moment in which its body began."""

    name: ClassVar[str] = "bench.started"


class CpuStarted(Started):
    name: ClassVar[str] = "bench.cpu_started"
    queue: ClassVar[Queue] = Queue.CPU


async def nothing(_: Noop, __: Any) -> None:
    return None


async def moment(_: Started, __: Any) -> float:
    return time.time()


def register() -> None:
    """Takes the place of the last step before a command imports its workers."""
    import app.tasks.bodies  # noqa: PLC0415 - after the metrics' files
    from app.services.container import Container  # noqa: PLC0415
    from app.tasks.attempt import Bodies  # noqa: PLC0415

    own = app.tasks.bodies.bodies

    def with_noops(container: Container) -> Bodies:
        return {**own(container), Noop: nothing, CpuNoop: nothing, Started: moment, CpuStarted: moment}

    app.tasks.bodies.bodies = with_noops


if __name__ == "__main__":
    with patch.object(program, "prepare_multiprocess", register):
        sys.exit(program.main())
