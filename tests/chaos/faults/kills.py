"""SIGKILL at random points of whatever it hits."""

import asyncio
import signal

from tests.chaos.scene import Fault, Scene
from tests.chaos.stage import PATIENT

BOTH = ("worker", "rival", "celery")


async def kill_worker(scene: Scene) -> None:
    """Two workers, killed by turns, so that the kills also meet starts, takeovers and each other's relays."""
    workers = [scene.stage.programs[label] for label in ("worker", "rival")]
    for number in range(scene.times(60, 4)):
        await asyncio.sleep(scene.rng.uniform(0.2, 1.8))
        workers[number % 2].send(signal.SIGKILL)
        await scene.hit()
        await scene.series(10)


async def kill_relay(scene: Scene) -> None:
    """A burst is accepted, and the worker dies within the moments in which its relay publishes it."""
    worker = scene.stage.programs["worker"]
    for _ in range(scene.times(25, 2)):
        await worker.ready()
        await scene.producer.send(*(scene.producer.count(seconds=0) for _ in range(100)))
        await asyncio.sleep(scene.rng.uniform(0, 0.15))
        starts = worker.starts
        worker.send(signal.SIGKILL)
        await scene.hit()
        await worker.restarted(starts)
        await scene.series()


async def kill_celery(scene: Scene) -> None:
    celery = scene.stage.programs["celery"]
    for _ in range(scene.times(25, 2)):
        await celery.ready()
        await scene.producer.send(*(scene.producer.compute() for _ in range(5)))
        await asyncio.sleep(scene.rng.uniform(0, 0.5))
        starts = celery.starts
        celery.send(signal.SIGKILL)
        await scene.hit()
        await celery.restarted(starts)
        await scene.series()


async def kill_child(scene: Scene) -> None:
    celery = scene.stage.programs["celery"]
    for _ in range(scene.times(60, 5)):
        await scene.producer.send(*(scene.producer.compute() for _ in range(3)))
        await asyncio.sleep(scene.rng.uniform(0, 0.6))
        for child in celery.children():
            celery.send_child(child, signal.SIGKILL)
        await scene.hit()
        await scene.series(10)


FAULTS = (
    Fault(
        "kill-worker",
        "SIGKILL of a worker (ARQ and relay)",
        BOTH,
        kill_worker,
        within=30,
        holds="taken back when the lease is over, each effect once",
        in_short=True,
    ),
    Fault(
        "kill-relay",
        "SIGKILL of the relay while it publishes",
        ("worker", "celery"),
        kill_relay,
        within=30,
        holds="published again at once by the next relay",
        in_short=True,
        env=PATIENT,
    ),
    Fault(
        "kill-celery",
        "SIGKILL of Celery's parent",
        ("worker", "celery"),
        kill_celery,
        within=30,
        holds="its children end with it; each effect once",
    ),
    Fault(
        "kill-child",
        "SIGKILL of Celery's child",
        ("worker", "celery"),
        kill_child,
        within=30,
        holds="Celery makes another; each effect once",
        in_short=True,
    ),
)
