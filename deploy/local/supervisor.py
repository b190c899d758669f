"""Starts everything, says when it works, keeps it running, and stops it in order."""

from __future__ import annotations

import asyncio
import shlex
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from deploy.local.command import Command
from deploy.local.engines import Engine, EngineError
from deploy.local.health import probe
from deploy.local.output import Output
from deploy.local.plan import Plan, Program, psql_variables
from deploy.local.processes import Child, ending
from deploy.local.state import State

FIRST_PAUSE, LONGEST_PAUSE, STEADY_SECONDS = 0.2, 5.0, 30.0
TRIES_BEFORE_READY = 3
GRACE = 20.0
NOTE_SECONDS = 10.0


class StartError(Exception):
    """It can't get ready; the text is the reason."""


class Supervisor:
    """One run of a plan in a state directory that this process holds."""

    def __init__(self, plan: Plan, state: State, output: Output, *, grace: float = GRACE) -> None:
        self.plan = plan
        self.state = state
        self.output = output
        self.grace = grace
        self.env: dict[str, str] = dict(plan.env)
        self.is_ready = False
        self._began = time.monotonic()
        self._children: dict[str, Child] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._error: BaseException | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """Until a signal asks to stop (0) or the start fails (1); nothing of it runs afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:  # nohup ignores it
                loop.add_signal_handler(number, self._asked_to_stop)
        self._keep(self._start())
        try:
            await self._stop.wait()
        finally:
            await self._shut_down()
        if isinstance(self._error, StartError | EngineError):
            for line in f"it did not start: {self._error}".splitlines():
                self.say(line)
            return 1
        if self._error is not None:
            raise self._error
        return 0

    def say(self, text: str, name: str = "frontdesk") -> None:
        """A line of the supervisor's own."""
        self.output.line(name, text)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        else:
            self.say("stopping… (once more kills at once)")
        self._stop.set()

    async def _start(self) -> None:
        await asyncio.gather(*(self._first(name, engine) for _, name, engine in self.plan.engines))
        self.env |= {variable: engine.url for variable, _, engine in self.plan.engines}
        for step in self.plan.steps:
            await self._step(step)
        for program in self.plan.programs:
            self.say("starting…", program.name)
            self._keep(self._kept(program.name, partial(self._spawn, program)))
        addresses = [program.health for program in self.plan.programs if program.health is not None]
        await asyncio.gather(*(self._healthy(program) for program in self.plan.programs))
        while any(await asyncio.gather(*(probe(address) for address in addresses))):  # noqa: ASYNC110 - all at one time, and nothing tells
            await asyncio.sleep(0.1)
        self.is_ready = True
        if self.plan.shell:
            values = {name: self.env[name] for name in self.plan.shell if name in self.env}
            path = self.state.write_env({**values, **psql_variables(values.get("DATABASE_URL", ""))})
            self.say(f"for psql and redis-cli in another shell: . {shlex.quote(self.state.shown(path))}")
        self.output.bare(self.plan.ready_line)

    async def _first(self, name: str, engine: Engine) -> None:
        """The first start of an engine, which is kept running from then on."""
        up = asyncio.Event()
        self.say("starting…", name)
        keeper = self._keep(self._kept(name, lambda: self._serve(name, engine, up)))
        waiting = asyncio.create_task(up.wait())
        await asyncio.wait([waiting, keeper], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if keeper.done():
            keeper.result()

    async def _serve(self, name: str, engine: Engine, up: asyncio.Event) -> Child:
        began = time.monotonic()
        await asyncio.to_thread(engine.prepare)
        child = await self._child(name, engine.command())
        while not engine.is_ready(child.pid) and child.process.returncode is None:
            if time.monotonic() - began > engine.start_seconds:
                child.kill()
                break
            await asyncio.sleep(0.02)
        else:
            if child.process.returncode is None:
                self.say(f"up in {time.monotonic() - began:.1f} s (pid {child.pid})", name)
                up.set()
        return child

    async def _step(self, step: Program) -> None:
        began = time.monotonic()
        self.say("running…", step.name)
        child = await self._spawn(step)
        code = await child.wait()
        del self._children[step.name]
        if code != 0:
            raise StartError(f"{step.name} failed with {ending(code)}: the reason is in its lines above")
        self.say(f"done in {time.monotonic() - began:.1f} s", step.name)

    async def _spawn(self, program: Program) -> Child:
        command = program.command(self.env, state=self.state.path, cwd=self.plan.cwd)
        return await self._child(program.name, command)

    async def _child(self, name: str, command: Command) -> Child:
        child = self._children[name] = await Child.spawn(name, command, self.state, self.output)
        return child

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the run, whose failure ends the run."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._stop.is_set():
            self._error = error
            self.say("stopping, because it can't start")
            self._stop.set()

    async def _kept(self, name: str, start: Callable[[], Coroutine[Any, Any, Child]]) -> None:
        """Start again whenever it ends; before the first `ready`, three ends in a row are a failed start."""
        pause, tries = FIRST_PAUSE, 0
        while True:
            began = time.monotonic()
            try:
                how = ending(await (await start()).wait())
            except EngineError as error:
                if not self.is_ready:
                    raise
                how = str(error)
            lasted = time.monotonic() - began
            pause, tries = (FIRST_PAUSE, 1) if lasted >= STEADY_SECONDS else (pause, tries + 1)
            if not self.is_ready and tries >= TRIES_BEFORE_READY:
                raise StartError(
                    f"{name} ended {tries} times before it was ready, last with {how}: see its lines above"
                )
            self.say(f"{name} ended with {how} after {lasted:.1f} s; again in {pause:.1f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _healthy(self, program: Program) -> None:
        """Return once it answers 200; say every ten seconds what is missing."""
        if program.health is None:
            return
        noted = time.monotonic()
        while wrong := await probe(program.health):
            if time.monotonic() - noted > NOTE_SECONDS:
                noted = time.monotonic()
                self.say(f"still waiting for {program.name}: {program.health}: {wrong}")
            await asyncio.sleep(0.1)
        self.say(f"up after {time.monotonic() - self._began:.1f} s", program.name)

    async def _shut_down(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        engines: Mapping[str, Engine] = {name: engine for _, name, engine in self.plan.engines}
        apps = [child for name, child in self._children.items() if name not in engines]
        await self._stop_all(apps)
        await self._stop_all([child for name, child in self._children.items() if name in engines])
        for engine in engines.values():
            engine.close()
        self.say("stopped")

    async def _stop_all(self, children: list[Child]) -> None:
        ends = await asyncio.gather(
            *(child.stop(grace=self.grace, hurry=self._hurry) for child in children), return_exceptions=True
        )
        for child, end in zip(children, ends, strict=True):
            with suppress(ProcessLookupError):
                if isinstance(end, BaseException):
                    raise end
                if end == -signal.SIGKILL:
                    self.say(f"{child.name} had to be killed")
