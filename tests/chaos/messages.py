"""Jobs whose effects can be counted in SQL. Only the processes that `tests.chaos.service` starts know them."""

from typing import ClassVar

from app.core.jobs import JobMessage, Queue, Retry


class Count(JobMessage):
    """Take `seconds`, then leave one row. `number` is the producer's own name for the job."""

    name: ClassVar[str] = "chaos.count"
    retry: ClassVar[Retry] = Retry(max_attempts=8, base=0.2, cap=2)
    number: int
    seconds: float = 0


class Compute(Count):
    """The same in a child of Celery."""

    name: ClassVar[str] = "chaos.compute"
    queue: ClassVar[Queue] = Queue.CPU


class Block(Count):
    """The first attempt stops the whole event loop for `seconds`: neither heartbeat nor relay turns meanwhile."""

    name: ClassVar[str] = "chaos.block"


class Future(Count):
    """Known to a worker that is started with FUTURE in its environment: the version to come."""

    name: ClassVar[str] = "chaos.future"


class FutureCompute(Compute):
    name: ClassVar[str] = "chaos.future_compute"


FUTURE = {"CHAOS_FUTURE": "1"}


class Crash(Count):
    """Kill the child that runs it, every time."""

    name: ClassVar[str] = "chaos.crash"
    queue: ClassVar[Queue] = Queue.CPU
    retry: ClassVar[Retry] = Retry(max_attempts=3, base=0.2, cap=1)
