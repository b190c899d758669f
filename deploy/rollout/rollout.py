"""The steps of a deployment. It may die between any two of them: the next one finds in the journal what to do."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from deploy.rollout.config import Config
from deploy.rollout.errors import RolloutError
from deploy.rollout.probe import Answer, get, until
from deploy.rollout.proxy import Proxy
from deploy.rollout.state import Generation, Journal, State, Step

# Lines of a command that failed.
TAIL = 20


class Rollout:
    """One run of this program; `lock` is what its commands hold as long as they run."""

    def __init__(self, config: Config, journal: Journal, *, lock: int, log: TextIO, say: Callable[[str], None]) -> None:
        self._config, self._journal, self._lock, self._log, self._say = config, journal, lock, log, say
        self._proxy = Proxy(config)

    def deploy(self, release: str, *, migrate: bool = True, again: bool = False) -> State:
        """`release` serves and what served before has ended; RolloutError when nothing has changed."""
        state = self.heal()
        if state.current and state.current.release == release and not again and not self._faults(state.current):
            self._say(f"{state.current} serves already")
            return state
        target = state.next(release)
        self._run("check", target)
        if migrate:
            self._run("migrate", target)
        try:
            self._start(state, target)
            self._switch(state, target)
        except RolloutError:
            self._say("that failed: going back")
            self.heal()
            raise
        return self._finish(self._journal.write(state.at(Step.DRAINING, target)))

    def rollback(self) -> State:
        """The former release serves again. The database stays as it is: the former code can live with it."""
        former = self.heal().former
        if former is None:
            raise RolloutError("there is no former release to go back to")
        return self.deploy(former.release, migrate=False, again=True)

    def heal(self) -> State:
        """Continue or take back what an earlier run has left half-way."""
        state = self._journal.read()
        if state.target is None:
            return state
        self._say(f"{state.target} is half-way, at {state.step}")
        if state.step is Step.DRAINING:
            self._proxy.ask(state.target)
            return self._finish(state)
        switching = state.step is Step.SWITCHING
        if switching and state.current and self._faults(state.current) and not self._faults(state.target):
            self._say(f"{state.current} does not answer any more: going on")
            self._proxy.ask(state.target)
            return self._finish(self._journal.write(state.at(Step.DRAINING, state.target)))
        self._proxy.leave(state.current)
        if switching:
            time.sleep(self._config.seconds.settle)
        self._keep_words(state.target)
        self._run("stop", state.target)
        self._say(f"{state.target} is taken back; {state.current or 'nothing'} serves")
        return self._journal.write(state.given_up())

    def _start(self, state: State, target: Generation) -> None:
        self._journal.write(state.at(Step.STARTING, target))
        self._run("stop", target)
        self._run("start", target)
        until(lambda: self._faults(target), seconds=self._config.seconds.ready, what=f"{target} does not work")
        self._proxy.show(state.current, target)
        if fault := self._smoke(lambda path: self._proxy.get(path, target)):
            raise RolloutError(f"{target} does not work behind the proxy: {fault}")
        self._say(f"{target} is ready, and passes the smoke test directly and behind the proxy")

    def _switch(self, state: State, target: Generation) -> None:
        self._journal.write(state.at(Step.SWITCHING, target))
        self._proxy.ask(target)
        self._say(f"the proxy asks {target}")
        deadline = time.monotonic() + self._config.seconds.watch
        while time.monotonic() < deadline:
            if fault := self._smoke(self._proxy.get) or self._faults(target):
                raise RolloutError(f"{target} does not work any more: {fault}")
            time.sleep(min(1, self._config.seconds.watch))

    def _finish(self, state: State) -> State:
        """End what served before, which nobody asks any more but requests that are under way."""
        if state.current:
            time.sleep(self._config.seconds.settle)
            self._run("stop", state.current)
        done = self._journal.write(state.done())
        self._say(f"{done.current} serves")
        return done

    def _keep_words(self, generation: Generation) -> None:
        """What it has said goes into our log: with its containers it would be gone."""
        try:
            self._run("logs", generation)
        except RolloutError as error:
            self._say(str(error))

    def _faults(self, generation: Generation) -> str:
        """What does not work in it, asked directly; empty when all does."""
        slot = self._config.slots[generation.slot]
        for url in slot.ready:
            if (answer := get(url, self._config.host)).status != 200:
                return f"{url}: {answer}"
        return self._smoke(lambda path: get(slot.api + path, self._config.host))

    def _smoke(self, ask: Callable[[str], Answer]) -> str:
        for path, status in self._config.smoke.items():
            if (answer := ask(path)).status != status:
                return f"{path}: {answer}, not {status}"
        return ""

    def _run(self, command: str, generation: Generation) -> None:
        argv = self._config.argv(command, slot=generation.slot, release=generation.release)
        env = self._config.env(slot=generation.slot, release=generation.release)
        self._say(f"{command}: {' '.join(argv)}")
        before = self._log.tell()
        try:
            # To the log, not to this terminal: a connection that breaks must not kill what writes to it.
            done = subprocess.run(
                argv,
                cwd=self._config.root,
                env=env,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                timeout=self._config.seconds.command,
                pass_fds=(self._lock,),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RolloutError(f"{command}: {error}") from error
        if done.returncode:
            said = Path(self._log.name).read_bytes()[before:].decode(errors="replace").splitlines()[-TAIL:]
            raise RolloutError("\n".join([f"{command} of {generation.release} ended with {done.returncode}:", *said]))
