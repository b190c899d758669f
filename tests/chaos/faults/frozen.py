"""Processes that stand still for longer than their lease, and wake again, or never do."""

import asyncio
import signal

from tests.chaos.messages import Block
from tests.chaos.scene import Fault, Scene
from tests.chaos.stage import LEASE


async def freeze_worker(scene: Scene) -> None:
    """SIGSTOP in mid-run, past the lease, then SIGCONT: what it still brings is dropped."""
    worker = scene.stage.programs["worker"]
    for _ in range(scene.times(4, 1)):
        await scene.producer.send(*(scene.producer.count(seconds=1) for _ in range(20)))
        await asyncio.sleep(scene.rng.uniform(0.1, 0.8))
        worker.send(signal.SIGSTOP)
        await asyncio.sleep(LEASE + scene.rng.uniform(1.5, 3))
        worker.send(signal.SIGCONT)
        await scene.hit()
        await scene.recovered()


async def freeze_celery(scene: Scene) -> None:
    """The same to a child of Celery, while another Celery is there."""
    celery = scene.stage.programs["celery"]
    for _ in range(scene.times(4, 1)):
        ids = await scene.producer.send(*(scene.producer.compute(seconds=1) for _ in range(6)))
        # Each of the two has one child: by the third start both work.
        await scene.until("SELECT count(*) > 2 FROM chaos_starts WHERE job_id = ANY (:ids)", ids=ids)
        await asyncio.sleep(scene.rng.uniform(0, 0.4))
        children = celery.children()
        for child in children:
            celery.send_child(child, signal.SIGSTOP)
        await asyncio.sleep(LEASE + scene.rng.uniform(1.5, 3))
        for child in children:
            celery.send_child(child, signal.SIGCONT)
        await scene.hit()
        await scene.recovered()
        again = await scene.scalar("SELECT max(attempt) FROM jobs WHERE id = ANY (:ids)", ids=ids)
        scene.expect(again > 1, "what stood still had no job")


async def block_loop(scene: Scene) -> None:
    """A body that blocks the event loop: no heartbeat, no relay, no reaper of this worker for that time."""
    for _ in range(scene.times(4, 1)):
        message = Block(number=scene.producer.number(), seconds=LEASE + scene.rng.uniform(1.5, 3))
        (job_id,) = await scene.producer.send(message)
        await scene.until("SELECT count(*) > 0 FROM chaos_starts WHERE job_id = :id", id=job_id)
        await scene.hit()
        await scene.recovered()


async def stop_publish_kill(scene: Scene) -> None:
    """Celery stands still, its messages are published, and it is killed before it has done any of them.

    By turns all of it stands still, and its children alone: then its parent has taken messages that die with it.
    """
    celery = scene.stage.programs["celery"]
    for number in range(scene.times(4, 2)):
        await celery.ready()
        for child in celery.children():
            celery.send_child(child, signal.SIGSTOP)
        if number % 2:
            celery.send(signal.SIGSTOP)
        ids = await scene.producer.send(*(scene.producer.compute() for _ in range(10)))
        published = "SELECT count(*) = 0 FROM jobs WHERE id = ANY (:ids) AND published_at IS NULL"
        await scene.until(published, ids=ids)
        await asyncio.sleep(scene.rng.uniform(0.2, 0.7))
        starts = celery.starts
        celery.send(signal.SIGKILL, children=True)
        await scene.hit()
        await celery.restarted(starts)
        await scene.recovered()


FENCED = "the late outcome is dropped, the job is done by another"
FAULTS = (
    Fault(
        "freeze-worker",
        "SIGSTOP of a worker past its lease, then SIGCONT",
        ("worker", "rival", "celery"),
        freeze_worker,
        in_short=True,
        within=20,
        holds=FENCED,
    ),
    Fault(
        "freeze-child",
        "SIGSTOP of Celery's child past its lease, then SIGCONT",
        ("worker", "celery", "second"),
        freeze_celery,
        within=20,
        holds=FENCED,
    ),
    Fault(
        "block-loop",
        "a job blocks the event loop past its lease",
        ("worker", "rival", "celery"),
        block_loop,
        within=20,
        holds=FENCED,
    ),
    Fault(
        "stop-publish-kill",
        "Celery stopped, messages published, Celery killed",
        ("worker", "celery"),
        stop_publish_kill,
        within=25,
        holds="what was never delivered is delivered again",
    ),
)
