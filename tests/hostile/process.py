"""The API as a process of its own, and a client that may say anything to it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import HOST, free_port

ROOT = Path(__file__).resolve().parents[2]
SECRETS = re.compile(
    r"traceback|sqlalchemy|asyncpg|postgresql|select .* from |\.py\b|/app/|password_hash", re.IGNORECASE
)


class ApiProcess:
    """`python -m app api` on a port of its own."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log = directory / "api.log"
        self._directory = directory
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "PORT": str(self.port), **environment}
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._spawn()
        async with asyncio.timeout(30):
            while not await self._answers():
                assert self._process is not None
                assert self._process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.02)

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app", "api"],
                cwd=self._directory,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    async def _answers(self) -> bool:
        with suppress(OSError, TimeoutError):
            return (await self.get("/health/live")).status == 200
        return False

    def signal(self, number: signal.Signals) -> None:
        """To the main process alone."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Its exit code, negative for a signal."""
        assert self._process is not None
        return self._process.wait(seconds)

    def children(self) -> list[int]:
        """The processes under it (Linux)."""
        assert self._process is not None
        pid = self._process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        """As the kernel would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def rss(self) -> int:
        """Resident memory in bytes (Linux)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> "Answer":
        return await self.ask("GET", path, headers)

    async def ask(
        self,
        method: str,
        path: str | bytes,
        headers: Mapping[str, str | bytes] | None = None,
        body: Any = None,
        *,
        seconds: float = 10,
    ) -> "Answer":
        """One request; `body` is bytes, or anything else to be sent as JSON."""
        lines = [f"{method} ".encode() + (path.encode() if isinstance(path, str) else path) + b" HTTP/1.1"]
        sent: dict[str, str | bytes] = {"Host": "testserver", "Connection": "close"}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**sent, **(headers or {})}.items():
            lines.append(name.encode() + b": " + (value.encode() if isinstance(value, str) else value))
        return await self.say(b"\r\n".join(lines) + b"\r\n\r\n" + (body or b""), seconds=seconds)

    async def say(self, *parts: bytes, pause: float = 0, seconds: float = 10) -> "Answer":
        """Send these bytes, `pause` seconds apart, and read one answer; fails when there is none in `seconds`."""

        async def parted() -> AsyncIterator[bytes]:
            for part in parts:
                yield part
                await asyncio.sleep(pause)

        return await self.stream(parted(), seconds=seconds)

    async def stream(self, parts: AsyncIterator[bytes], *, seconds: float = 10) -> "Answer":
        """Send until the server has answered or `parts` ends."""
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(HOST, self.port)
            sending = asyncio.create_task(_send(writer, parts))
            try:
                return await _read(reader)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                writer.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code, after it was checked to be a proper one that gives nothing away."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.headers, self.body)
        problem = self.json()
        assert problem["status"] == self.status
        assert problem["request_id"] == self.headers["x-request-id"]
        assert {"type", "title", "detail", "instance"} <= problem.keys()
        told = {name: value for name, value in problem.items() if name != "instance"}
        assert not SECRETS.search(json.dumps(told)), self.body
        code: str = problem["code"]
        return code


async def _send(writer: asyncio.StreamWriter, parts: AsyncIterator[bytes]) -> None:
    with suppress(ConnectionError):
        async for part in parts:
            writer.write(part)
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    length = int(headers.get("content-length", 0))
    return Answer(int(first.split()[1]), headers, await reader.readexactly(length))
