"""The load generator: a process of its own that reads one plan a line and writes each result to the plan's file.

A closed loop: every client sends its next request when its answer is complete, after the plan's pause. The HTTP client
is as small as it can be, so that one core drives far more than any contender answers.
"""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
PATIENCE = 15.0


class LoadError(Exception):
    """An answer was not what the plan expects."""


@dataclass
class Group:
    """Clients that send the same kind of request; latencies of every request that began within the window."""

    name: str
    requests: Iterator[bytes]
    expect: int
    begin: float
    end: float
    pause: float
    latencies: list[float] = field(default_factory=list)
    answered: int = 0

    def record(self, sent: float, now: float) -> None:
        if self.begin <= sent < self.end:
            self.latencies.append(now - sent)
        if self.begin <= now < self.end:
            self.answered += 1


class Client(asyncio.Protocol):
    """One connection; `done` ends with the window, or with what went wrong."""

    def __init__(self, group: Group, done: asyncio.Future[None]) -> None:
        self._group = group
        self._done = done
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._next()

    def _next(self) -> None:
        now = perf_counter()
        request = next(self._group.requests, None) if now < self._group.end else None
        assert self._transport is not None
        if request is None:
            self._finish(None)
            return
        self._sent = now
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        head = buffer.find(b"\r\n\r\n")
        length = _LENGTH.search(buffer, 0, head + 2) if head >= 0 else None
        size = int(length[1]) if length else 0
        if head < 0 or len(buffer) < head + 4 + size:
            self._buffer = buffer
            return
        self._buffer = b""
        if int(buffer[9:12]) != self._group.expect:
            self._finish(LoadError(f"{self._group.name}: {buffer[:800]!r}"))
            return
        self._group.record(self._sent, perf_counter())
        if self._group.pause:
            asyncio.get_running_loop().call_later(self._group.pause, self._next)
        else:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or LoadError(f"{self._group.name}: the server closed the connection"))

    def _finish(self, error: Exception | None) -> None:
        if not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)
        if self._transport is not None:
            self._transport.close()


async def _drive(plan: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    begin = perf_counter() + plan["warmup"]
    groups, waiting = [], []
    for one in plan["groups"]:
        texts = [text.encode() for text in one["requests"]]
        requests = iter(texts) if one["once"] else cycle(texts)
        group = Group(one["name"], requests, one["expect"], begin, begin + plan["seconds"], one["pause"])
        groups.append(group)
        for _ in range(one["clients"]):
            done: asyncio.Future[None] = loop.create_future()
            await loop.create_connection(partial(Client, group, done), "127.0.0.1", plan["port"])
            waiting.append(done)
    async with asyncio.timeout(plan["warmup"] + plan["seconds"] + PATIENCE):
        await asyncio.gather(*waiting)
    return {
        group.name: {"rate": group.answered / plan["seconds"], "latencies": group.latencies, "answered": group.answered}
        for group in groups
    }


def main() -> None:
    for line in sys.stdin:
        try:
            plan = json.loads(line)
            Path(plan["output"]).write_text(json.dumps(uvloop.run(_drive(plan))), encoding="utf-8")
            answer = "done"
        except (LoadError, OSError, TimeoutError) as error:
            answer = f"{type(error).__name__}: {error}"
        print(answer, flush=True)


if __name__ == "__main__":
    main()
