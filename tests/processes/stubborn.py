"""`python -m tests.processes.stubborn NAME`: `python -m app NAME`, whose workers know one job more. Its thread neither
listens nor ends. Run by test_engines.py."""

import asyncio
import sys
import time
from typing import Any, ClassVar
from unittest.mock import patch

from app import __main__ as program
from app.core.metrics_files import prepare_multiprocess

if __name__ == "__main__":
    # Metrics are made when they are imported, which everything below does.
    prepare_multiprocess()

from app.core.jobs import JobMessage, Queue, Retry


class Stubborn(JobMessage):
    name: ClassVar[str] = "test.stubborn"
    queue: ClassVar[Queue] = Queue.CPU
    retry: ClassVar[Retry] = Retry(max_attempts=1)
    timeout: ClassVar[float] = 1


async def compute(_: Stubborn, __: Any) -> Any:
    await asyncio.to_thread(time.sleep, 3600)


def register() -> None:
    """Takes the place of the last step before a command imports its workers."""
    import app.tasks.bodies

    own = app.tasks.bodies.bodies

    def with_stubborn(container: Any) -> Any:
        return {**own(container), Stubborn: compute}

    app.tasks.bodies.bodies = with_stubborn
    if sys.argv[1] == "celery":
        from app.tasks import celery_app

        celery_app.THREADS_SECONDS = 1


if __name__ == "__main__":
    with patch.object(program, "prepare_multiprocess", register):
        sys.exit(program.main())
