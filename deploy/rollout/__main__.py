"""`python3 -m deploy.rollout deploy RELEASE | rollback | heal | status | run COMMAND…`, on the host itself."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TextIO

from deploy.rollout.config import Config, read
from deploy.rollout.errors import Busy, Interrupted, RolloutError
from deploy.rollout.rollout import Rollout
from deploy.rollout.state import Generation, Journal

ROOT = Path(__file__).resolve().parents[2]
FAILED, UNUSABLE, BUSY = 1, 2, 75


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python3 -m deploy.rollout",
        description="Replaces what serves by another release, without a failed request; takes back what does not work.",
    )
    top.add_argument("--config", type=Path, default=ROOT / "deploy/rollout/compose.toml", help="default: compose.toml")
    top.add_argument("--root", type=Path, default=ROOT, help="the folder of .env and var/; default: this one")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    deploy = commands.add_parser(
        "deploy", help="migrate, start, test, switch, drain; all is as before when a step fails"
    )
    deploy.add_argument("release", help="an image (by its digest), or a folder")
    deploy.add_argument("--again", action="store_true", help="also when that release serves already")
    commands.add_parser("rollback", help="the former release serves again; the database stays as it is")
    commands.add_parser("heal", help="continue or take back what a deployment that was killed has left")
    commands.add_parser("status", help="what serves, and what is half-way")
    once = commands.add_parser("run", help="a command of the release that serves, in this terminal: run backup --list")
    once.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="as after `python -m app`")
    return top


def teller(log: TextIO) -> Callable[[str], None]:
    """Says it to the log and, for as long as somebody listens there, on standard output."""

    def say(text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        for one in (log, sys.stdout):
            # Neither a full disk nor a connection that broke ends a deployment.
            with suppress(OSError):
                print(line, file=one, flush=True)

    return say


def run(given: argparse.Namespace, config: Config) -> None:
    journal = Journal(config.state)
    if given.command == "run":
        become(given.words, config, journal.read().current)
    if given.command == "status":
        state = journal.read()
        print(f"serves: {state.current or 'nothing'}\nformer: {state.former or 'none'}")
        if state.target:
            print(f"half-way, at {state.step}: {state.target}")
        return
    with journal.lock() as lock, (config.state / "log").open("a", encoding="utf-8") as log:
        rollout = Rollout(config, journal, lock=lock, log=log, say=teller(log))
        if given.command == "deploy":
            rollout.deploy(given.release, again=given.again)
        elif given.command == "rollback":
            rollout.rollback()
        else:
            rollout.heal()


def become(words: list[str], config: Config, serves: Generation | None) -> NoReturn:
    """Be this command of the release that serves, whose image nothing else on the host knows."""
    if serves is None or not words:
        raise RolloutError("run: nothing serves yet: deploy first" if words else "run: which command?")
    argv = [*config.argv("run", slot=serves.slot, release=serves.release), *words]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.chdir(config.root)
    os.execvpe(argv[0], argv, config.env(slot=serves.slot, release=serves.release))  # noqa: S606 - that is the point


def _interrupted(number: int, _: object) -> None:
    # Once: what is taken back now must not be interrupted by an impatient second one.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise Interrupted(f"stopped by {signal.Signals(number).name}")


def main() -> int:
    given = parser().parse_args()
    # A connection that breaks takes the terminal with it, not the deployment.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    code = 0
    try:
        config = read(given.config, given.root)
    except RolloutError as error:
        code, text = UNUSABLE, str(error)
    else:
        try:
            run(given, config)
        except Busy as error:
            code, text = BUSY, str(error)
        except (RolloutError, OSError) as error:
            code, text = FAILED, str(error)
    with suppress(OSError):
        if code:
            print(f"rollout: {text}", file=sys.stderr)
        sys.stdout.flush()
    if code == 0:
        return 0
    # The interpreter would fail once more on a standard output that nobody reads.
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
