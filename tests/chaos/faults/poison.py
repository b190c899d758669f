"""Jobs that are the fault themselves: they kill their process, or outlast the broker's patience."""

import asyncio
from collections.abc import Sequence

from app.config import get_settings
from app.tasks.broker import TASK, make_celery
from tests.chaos.messages import Crash
from tests.chaos.scene import Fault, Scene

PATIENCE = 2


async def crash_child(scene: Scene) -> None:
    """A job whose child dies every time is buried after its attempts; those beside it are done."""
    for _ in range(scene.times(3, 1)):
        ids = await scene.producer.send(Crash(number=scene.producer.number()), doomed=True)
        scene.apart.update(ids)
        await scene.until("SELECT status = 'failed' FROM jobs WHERE id = :id", id=ids[0], seconds=90)
        starts = await scene.scalar("SELECT count(*) FROM chaos_starts WHERE job_id = :id", id=ids[0])
        allowed = Crash.retry.max_attempts
        scene.expect(starts == allowed, f"job {ids[0]} killed its child {starts} times, not {allowed}")
        await scene.hit()


def deliver_again(ids: Sequence[int]) -> None:
    with make_celery(get_settings()) as celery:
        for job_id in ids:
            celery.send_task(TASK, args=[job_id], ignore_result=True)


async def visibility(scene: Scene) -> None:
    """Jobs take longer than the broker waits before it delivers a message again, and a second Celery would take it."""
    for _ in range(scene.times(3, 1)):
        messages = [scene.producer.compute(seconds=2.5 * PATIENCE) for _ in range(4)]
        ids = await scene.producer.send(*messages)
        scene.apart.update(ids)
        # kombu looks for what is overdue every hundred seconds only; so each message also comes a second time at once.
        await scene.until("SELECT count(*) > 0 FROM chaos_starts WHERE job_id = ANY (:ids)", ids=ids)
        await asyncio.to_thread(deliver_again, ids)
        done = "SELECT count(*) = 0 FROM jobs WHERE id = ANY (:ids) AND status <> 'succeeded'"
        await scene.until(done, ids=ids, seconds=90)
        await asyncio.sleep(PATIENCE)
        starts = await scene.scalar("SELECT count(*) FROM chaos_starts WHERE job_id = ANY (:ids)", ids=ids)
        scene.expect(starts == len(ids), f"{len(ids)} jobs were started {starts} times")
        await scene.hit()


FAULTS = (
    Fault(
        "crash-child",
        "a job whose Celery child always dies",
        ("worker", "celery"),
        crash_child,
        within=25,
        holds="failed after its 3 attempts, never a loop; others are done",
    ),
    Fault(
        "visibility",
        "a job longer than the broker's visibility timeout",
        ("worker", "celery", "second"),
        visibility,
        within=40,
        holds="one attempt: the second delivery finds nothing to claim",
        per_second=4,
        env={"CHAOS_VISIBILITY_TIMEOUT": str(PATIENCE)},
    ),
)
