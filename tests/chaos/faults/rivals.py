"""Two of everything at once: relays and reapers share the work and wait for nobody."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from tests.chaos.scene import Fault, Scene
from tests.chaos.stage import HEARTBEAT, LEASE

DONE = "SELECT count(*) = 0 FROM jobs WHERE id = ANY (:ids) AND status <> 'succeeded'"
# Of whom no heartbeat has come since: those that others run are renewed.
ORPHANS = text("""
    SELECT id FROM jobs WHERE id = ANY (:ids) AND status = 'running'
    AND lease_expires_at < now() + :left * interval '1 second' FOR UPDATE
""")
PAIR = ("worker", "rival", "celery")


async def two_relays(scene: Scene) -> None:
    """Bursts for two relays; then one relay stands still in the middle of its transaction, and the others go on."""
    for _ in range(scene.times(4, 1)):
        ids = await scene.producer.send(*(scene.producer.count(seconds=0) for _ in range(300)))
        await scene.until(DONE, ids=ids, seconds=60)
        # A second attempt, after a connection that a fault before this one had cut, is a second message.
        twice = await scene.scalar(
            "SELECT count(*) FROM jobs WHERE id = ANY (:ids) AND publications > attempt", ids=ids
        )
        scene.expect(not twice, f"{twice} of {len(ids)} jobs were published more than once for an attempt")
        await _beside_a_stalled_relay(scene)
        await scene.hit()


async def _beside_a_stalled_relay(scene: Scene) -> None:
    """A row that is due is locked, as by a relay that stands still; other jobs have to get past it."""
    due = datetime.now(UTC) + timedelta(seconds=1)
    (held,) = await scene.producer.send(scene.producer.count(), run_at=due)
    scene.apart.add(held)
    async with scene.database.engine.begin() as connection:
        await connection.execute(text("SELECT id FROM jobs WHERE id = :id FOR UPDATE"), {"id": held})
        await asyncio.sleep(1)
        ids = await scene.producer.send(*(scene.producer.count(seconds=0) for _ in range(20)))
        try:
            await scene.until(DONE, ids=ids, seconds=7)
        except AssertionError:
            scene.expect(False, "a relay that stands still in its transaction holds up the others")


async def two_reapers(scene: Scene) -> None:
    """A worker is killed with its hands full, and two reapers find its jobs at one moment: when a lock on them ends."""
    worker = scene.stage.programs["worker"]
    for _ in range(scene.times(4, 1)):
        ids = await scene.producer.send(*(scene.producer.count(seconds=LEASE + 1) for _ in range(30)))
        await scene.until("SELECT count(*) = 30 FROM chaos_starts WHERE job_id = ANY (:ids)", ids=ids, seconds=30)
        starts = worker.starts
        worker.send(signal.SIGKILL)
        await asyncio.sleep(1.6 * HEARTBEAT)
        async with scene.database.engine.begin() as connection:
            await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '2min'"))
            found = await connection.execute(ORPHANS, {"ids": ids, "left": LEASE - 1.3 * HEARTBEAT})
            scene.expect(bool(found.all()), "the worker that was killed had no job")
            await worker.restarted(starts)
            await worker.ready()
            await asyncio.sleep(1)
        await scene.hit()
        await scene.recovered()
        again = await scene.scalar("SELECT max(attempt) FROM jobs WHERE id = ANY (:ids)", ids=ids)
        scene.expect(again == 2, f"one death, and a job has {again} attempts")
        # Claimed and ended for each attempt: a job that was taken back twice has been changed once more.
        often = await scene.scalar(
            "SELECT count(*) FROM jobs WHERE id = ANY (:ids) AND version > 1 + 2 * attempt", ids=ids
        )
        scene.expect(not often, f"{often} of {len(ids)} jobs were taken back more than once for an attempt")


FAULTS = (
    Fault(
        "two-relays",
        "two relays at once, and one that stands still in its transaction",
        PAIR,
        two_relays,
        in_short=True,
        within=20,
        holds="each job is published once; nobody waits for the one that stands still",
    ),
    Fault(
        "two-reapers",
        "two reapers at once after a SIGKILL",
        PAIR,
        two_reapers,
        within=30,
        holds="each job is taken back once",
    ),
)
