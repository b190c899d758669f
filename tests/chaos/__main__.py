"""`python -m tests.chaos`: real processes under faults; ends with 0 only if nothing was lost, doubled or stuck."""

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from app.config import Settings, get_settings
from app.core.logging import configure_logging
from app.core.wakeup import RedisWaker, use_waker
from app.services.container import build
from tests.chaos.faults import FAULTS
from tests.chaos.invariants import unfinished, violations
from tests.chaos.load import Producer
from tests.chaos.real import real_jobs
from tests.chaos.report import Outcome, outcomes_table
from tests.chaos.scene import Fault, Scene
from tests.chaos.stage import Stage

GIVE_UP = 20.0
"""Seconds after the end of a fault's load in which its jobs have to be done, beyond what the fault itself allows."""


def say(text: str) -> None:
    print(f"chaos     | {text}", flush=True)


async def run_fault(fault: Fault, scene: Scene) -> Outcome:
    producer = scene.producer
    before = set(producer.accepted.ids)
    await scene.stage.running(fault.processes, of={"": fault.env, **fault.env_of})
    deaths = scene.stage.deaths()
    async with producer.steady(fault.per_second):
        await asyncio.sleep(0.5)
        try:
            await fault.run(scene)
        except AssertionError as error:
            scene.expect(False, f"what the fault waits for did not come: {error}")
            await scene.hit()
        await scene.recovered(seconds=fault.within + GIVE_UP)
    await drained(scene, seconds=fault.within + GIVE_UP)
    died = sorted(label for label, number in scene.stage.deaths().items() if number > deaths.get(label, 0))
    scene.expect(not died, f"ended although nobody had killed it: {', '.join(died)}")
    recoveries = await scene.recoveries()
    broken = [*scene.broken, *await violations(scene.database, producer.accepted, mails=scene.stage.mails)]
    worst, slowest = max(recoveries, default=(0.0, ""))
    if worst > fault.within:
        broken.append(f"recovered after {worst:.1f} s, not within {fault.within:g} s; the slowest: {slowest}")
    accepted = producer.accepted.ids - before
    failed = len(accepted & producer.accepted.doomed)
    return Outcome(
        fault.name,
        fault.what,
        scene.runs,
        len(accepted),
        failed,
        worst,
        slowest,
        fault.within,
        fault.holds,
        broken,
    )


async def drained(scene: Scene, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while await unfinished(scene.database) and time.monotonic() < deadline:  # noqa: ASYNC110 - rows tell nobody
        await asyncio.sleep(0.1)


async def run(faults: Sequence[Fault], *, seed: int, share: float) -> list[Outcome]:
    folder = Path(tempfile.mkdtemp(prefix="frontdesk-chaos-"))
    stage, outcomes = Stage(folder), list[Outcome]()
    try:
        stage.start()
        await stage.fill()
        os.environ.update(stage.env())
        Settings.model_config["env_file"] = None
        get_settings.cache_clear()
        configure_logging(get_settings().log.model_copy(update={"level": "CRITICAL"}), process="chaos")
        container = build(get_settings(), role="worker")
        await container.keys.ensure()
        use_waker(RedisWaker(container.redis))
        rng = random.Random(seed)
        producer = Producer(container.database, rng, await real_jobs(container, rng))
        for fault in faults:
            if fault.needs:
                say(f"skipped {fault.name}: it needs {fault.needs}")
                continue
            began = time.monotonic()
            scene = Scene(stage, container.database, producer, rng, share)
            outcomes.append(outcome := await run_fault(fault, scene))
            say(
                f"{outcome.word:<6} {fault.name}: {outcome.runs} runs, {outcome.accepted} jobs, worst recovery "
                f"{outcome.worst:.1f} s ({outcome.slowest}), in all {time.monotonic() - began:.0f} s"
            )
            for line in outcome.broken:
                say(f"       {line}")
        await container.close()
    finally:
        use_waker(None)
        await stage.close()
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--short", action="store_true", help="a few of each, in a minute and a half")
    parser.add_argument("--share", type=float, default=1, help="of the runs of the long form, for a slow machine: 0.4")
    parser.add_argument("--faults", default="", help=f"only these, separated by commas: {names(FAULTS)}")
    arguments = parser.parse_args()
    wanted = set(arguments.faults.split(",")) - {""}
    if unknown := wanted - {fault.name for fault in FAULTS}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {names(FAULTS)}")
    faults = [one for one in FAULTS if (one.name in wanted if wanted else one.in_short or not arguments.short)]
    say(f'seed {arguments.seed}; the same again: make chaos ARGS="--seed {arguments.seed} --faults {names(faults)}"')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcomes = asyncio.run(run(faults, seed=arguments.seed, share=0 if arguments.short else arguments.share))
    print(f"\n{outcomes_table(outcomes)}\n")
    broken = [one.name for one in outcomes if one.broken]
    say(f"broken: {', '.join(broken)} (seed {arguments.seed})" if broken else f"all held (seed {arguments.seed})")
    return 1 if broken else 0


def names(faults: Sequence[Fault]) -> str:
    return ",".join(fault.name for fault in faults)


if __name__ == "__main__":
    sys.exit(main())
