"""Machines whose clocks are ten minutes off. What counts is the clock of the database alone."""

from pathlib import Path

from tests.chaos.scene import Fault, Scene

MINUTES = 10


def library() -> Path | None:
    """Debian's libfaketime (package `faketime`), which shifts the clock of one process; None when it is not there."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def shifted(minutes: int) -> dict[str, str]:
    found = library()
    if found is None:
        return {}
    # The monotonic clock stays: it is the same on a machine whose wall clock is wrong.
    return {"LD_PRELOAD": str(found), "FAKETIME": f"{minutes:+d}m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


async def clocks(scene: Scene) -> None:
    for _ in range(scene.times(5, 2)):
        ids = await scene.producer.send(
            *(scene.producer.count() for _ in range(40)), *(scene.producer.compute() for _ in range(5))
        )
        await scene.hit()
        await scene.recovered()
        again = await scene.scalar("SELECT max(attempt) FROM jobs WHERE id = ANY (:ids)", ids=ids)
        scene.expect(again == 1, f"nobody died, and a job has {again} attempts")


FAULTS = (
    Fault(
        "clocks",
        "clocks 10 minutes ahead (a worker with its relay) and behind (Celery), beside a right one",
        ("worker", "rival", "celery"),
        clocks,
        within=15,
        holds="no lease is lost, no job waits for a clock",
        env_of={"worker": shifted(MINUTES), "celery": shifted(-MINUTES)},
        needs="libfaketime (apt-get install faketime)" if library() is None else "",
    ),
)
