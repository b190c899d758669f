"""One running process of the supervisor: its start, its lines, its end."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from pathlib import Path

from deploy.local import leftovers
from deploy.local.command import Command
from deploy.local.output import Output
from deploy.local.state import State

KILL_SECONDS = 5.0


def ending(code: int) -> str:
    """How a process ended, in words: `exit code 3`, `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


class Child:
    """A process in a session of its own, so that a Ctrl-C reaches the supervisor alone."""

    def __init__(
        self, name: str, command: Command, process: Process, state: State, forwarding: asyncio.Task[None]
    ) -> None:
        self.name = name
        self.command = command
        self.process = process
        self._state = state
        self._forwarding = forwarding

    @classmethod
    async def spawn(cls, name: str, command: Command, state: State, output: Output) -> Child:
        """Start it, forward its lines, record its pid. It must run in the thread that lives as long as the program."""
        # Not asyncio's own pipe: its wait() lasts until every child of a dead process has closed it, too.
        reading, writing = os.pipe()
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *command.guarded(),
                env=dict(command.env),
                cwd=command.cwd,
                stdin=DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        finally:
            os.close(writing)
        state.record(name, process.pid)
        forwarding = asyncio.create_task(output.forward(name, lines, without=command.noise))
        return cls(name, command, process, state, forwarding)

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self.process.pid

    async def wait(self) -> int:
        """Its exit code (negative: the signal), once nothing of its group runs and its last lines are out."""
        code = await self.process.wait()
        await asyncio.to_thread(self._end_group)
        await asyncio.wait([self._forwarding], timeout=0.5)
        self._forwarding.cancel()
        self._state.forget(self.name)
        return code

    async def stop(self, *, grace: float, hurry: asyncio.Event) -> int:
        """Ask it to stop; after `grace` seconds, or in a hurry, kill it with all its children."""
        if self.process.returncode is None:
            self.process.send_signal(self.command.stop_signal)
        hurried = asyncio.create_task(hurry.wait())
        ended = asyncio.create_task(self.process.wait())
        await asyncio.wait([hurried, ended], timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            self.kill()
            await asyncio.wait([ended], timeout=KILL_SECONDS)
        if not ended.done():
            self.process.kill()
            await ended
        return await self.wait()

    def kill(self) -> None:
        """SIGKILL to the whole group; a postmaster, whose children left it, gets SIGQUIT: its immediate shutdown."""
        with suppress(ProcessLookupError):
            if self.command.stop_signal is signal.SIGINT:
                self.process.send_signal(signal.SIGQUIT)
            else:
                os.killpg(self.pid, signal.SIGKILL)

    def _end_group(self) -> None:
        """Workers of a server that was killed would otherwise hold its port or do its work beside the next one."""
        leftovers.end(leftovers.find(self._state.path, self._is_member), grace=2.0)

    def _is_member(self, pid: int, state: Path) -> bool:
        try:
            return os.getpgid(pid) == self.pid and leftovers.has_marker(pid, state)
        except ProcessLookupError:
            return False
