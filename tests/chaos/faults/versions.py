"""A producer and a worker of different ages."""

import asyncio
from typing import ClassVar

from app.core.jobs import JobMessage, Queue
from tests.chaos.messages import FUTURE, Compute, Count, Future, FutureCompute
from tests.chaos.scene import Fault, Scene

WAIT = 3.0


class NewerCount(Count):
    """`chaos.count` as a newer producer knows it, with a field that the worker has never heard of."""

    colour: str = "green"


class OlderCompute(JobMessage):
    """`chaos.compute` as an older producer knows it, without the field `seconds`."""

    name: ClassVar[str] = Compute.name
    queue: ClassVar[Queue] = Queue.CPU
    number: int


async def newer_producer(scene: Scene) -> None:
    """Names that the workers do not know wait for newer workers, which come beside the older ones."""
    for _ in range(scene.times(2, 1)):
        await scene.stage.running(("rival", "celery"))
        producer = scene.producer
        ids = await producer.send(
            Future(number=producer.number()),
            FutureCompute(number=producer.number()),
            NewerCount(number=producer.number()),
        )
        await asyncio.sleep(WAIT)
        states = await scene.rows("SELECT status, attempt FROM jobs WHERE id = ANY (:ids) ORDER BY id", ids=ids)
        met = [tuple(row) for row in states]
        scene.expect(
            met == [("queued", 0), ("queued", 0), ("succeeded", 1)], f"beside workers that do not know them: {met}"
        )
        await scene.stage.running(
            ("rival", "worker", "celery", "second"), of=dict.fromkeys(("worker", "second"), FUTURE)
        )
        await scene.hit()
        await scene.recovered()


async def older_producer(scene: Scene) -> None:
    """A field that came later has its default; one that never had any fails for a reason that can be read."""
    for _ in range(scene.times(2, 1)):
        (job_id,) = await scene.producer.send(OlderCompute(number=scene.producer.number()))
        (broken,) = await scene.producer.send(Nothing(), doomed=True)
        scene.apart.add(broken)
        await scene.until("SELECT status = 'succeeded' FROM jobs WHERE id = :id", id=job_id)
        await scene.until("SELECT status = 'failed' FROM jobs WHERE id = :id", id=broken, seconds=60)
        error = await scene.scalar("SELECT error FROM jobs WHERE id = :id", id=broken)
        scene.expect("number" in error and "Field required" in error, f"the reason says: {error}")
        await scene.hit()


class Nothing(JobMessage):
    """`chaos.count` without its fields."""

    name: ClassVar[str] = Count.name
    retry = Count.retry


FAULTS = (
    Fault(
        "newer-producer",
        "a newer producer: unknown names, unknown fields",
        ("rival", "celery"),
        newer_producer,
        within=40,
        holds="left for a newer worker; unknown fields are ignored",
    ),
    Fault(
        "older-producer",
        "an older producer: fields are missing",
        ("worker", "celery"),
        older_producer,
        within=25,
        holds="a default where there is one, else failed with the reason",
    ),
)
