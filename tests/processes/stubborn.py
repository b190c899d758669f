"""Celery's worker with one job more, whose thread neither listens nor ends. Run by test_engines.py as a program."""

import asyncio
import time
from typing import Any, ClassVar

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


def main() -> None:
    from app.tasks import celery_app
    from app.tasks.bodies import bodies

    def with_stubborn(container: Any) -> Any:
        known: dict[Any, Any] = dict(bodies(container))
        return known | {Stubborn: compute}

    celery = vars(celery_app)
    celery["bodies"] = with_stubborn
    celery["THREADS_SECONDS"] = 1
    celery_app.main()


if __name__ == "__main__":
    main()
