"""A partner's server: a real one on a real port, that answers as it is told to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook


@dataclass
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """The JSON, checked by the standard's own library."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Answers each request with the next of `answers`, the last of them over and over: a status, bytes to write as they
    are, None to hang up, or seconds (a float) to wait before a 200."""

    answers: list[int | bytes | float | None] = field(default_factory=lambda: [200])
    received: list[Received] = field(default_factory=list)
    port: int = 0
    under_way: int = 0
    most_under_way: int = 0

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.received.append(Received(first.split()[1], headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if isinstance(answer, float):
                await asyncio.sleep(answer)
                answer = 200
        finally:
            self.under_way -= 1
        if answer is None:
            writer.close()
            raise ConnectionError
        if isinstance(answer, int):
            answer = f"HTTP/1.1 {answer} Whatever\r\nContent-Length: 2\r\n\r\nok".encode()
        writer.write(answer)
        await writer.drain()


@asynccontextmanager
async def receiver(*answers: float | bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    partner = Receiver(list(answers) or [200])
    server = await asyncio.start_server(partner.serve, "127.0.0.1", 0, ssl=tls)
    partner.port = server.sockets[0].getsockname()[1]
    try:
        yield partner
    finally:
        server.close()
