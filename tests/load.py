"""Clients that ask all the time, and know what became of every single request."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support import eventually

REFUSED_PAUSE = 0.02


@dataclass(frozen=True)
class Asked:
    """A request; the second half of its body is sent `pause` seconds after the first."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pause: float = 0

    def halves(self, host: str) -> tuple[bytes, bytes]:
        lines = {"Host": host, **self.headers, "Content-Length": str(len(self.body))}
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\n" + "".join(f"{name}: {lines[name]}\r\n" for name in lines) + "\r\n"
        )
        middle = len(self.body) // 2
        return head.encode() + self.body[:middle], self.body[middle:]


@dataclass
class Tally:
    """`refused` connections were never made. A `broken` request was sent, and has no whole answer."""

    answered: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    broken: list[str] = field(default_factory=list)
    closed: int = 0
    slowest: float = 0
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> dict[str, object]:
        """All that is not a good answer."""
        bad = {str(status): count for status, count in self.answered.items() if status >= 400}
        more = {"refused": self.refused, "broken": self.broken}
        return bad | {name: value for name, value in more.items() if value}


class Load:
    """So many clients, each with a connection that it keeps for as long as the server lets it."""

    def __init__(
        self,
        port: int,
        asked: Sequence[Asked],
        *,
        host: str = "127.0.0.1",
        tls: bool = False,
        note: str = "",
        rest: float = 0,
    ) -> None:
        """`note` is the header of the answers that is counted; `rest` is the pause after each answer, in seconds."""
        self.tally = Tally()
        self._port, self._asked, self._host, self._note = port, asked, host, note.lower().encode()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls else None
        if self._tls:
            self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._stopping, self._rest = False, rest

    @asynccontextmanager
    async def running(self, clients: int) -> AsyncIterator[Tally]:
        """Ask without a pause for as long as the block lasts; what has begun at its end is waited for."""
        running = [asyncio.create_task(self._client(number)) for number in range(clients)]
        try:
            yield self.tally
        finally:
            self._stopping = True
            await asyncio.gather(*running)

    async def until(self, answers: int) -> None:
        """Until so many more requests are answered."""
        goal = self.tally.answered.total() + answers

        async def reached() -> bool:
            return self.tally.answered.total() >= goal

        await eventually(reached, seconds=20)

    async def _client(self, number: int) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        loop = asyncio.get_running_loop()
        while not self._stopping:
            if connection is None:
                try:
                    connection = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
                except OSError:
                    self.tally.refused += 1
                    await asyncio.sleep(REFUSED_PAUSE)
                    continue
                fresh = True
            asked = self._asked[number % len(self._asked)]
            began = loop.time()
            try:
                async with asyncio.timeout(20):
                    stays = await self._ask(*connection, asked)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                how = "the first" if fresh else "a later"
                self.tally.broken.append(f"{asked.method} {asked.path}, {how} of its connection: {error!r}")
                stays = False
            self.tally.slowest = max(self.tally.slowest, loop.time() - began)
            await asyncio.sleep(self._rest)
            fresh = False
            if not stays:
                self.tally.closed += 1
                connection[1].close()
                connection = None
        if connection is not None:
            connection[1].close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: Asked) -> bool:
        """Whether the connection stays after the answer."""
        first, second = asked.halves(self._host)
        writer.write(first)
        if asked.pause:
            await writer.drain()
            await asyncio.sleep(asked.pause)
        writer.write(second)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if lines.get(b"transfer-encoding") == b"chunked":
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        else:
            await reader.readexactly(int(lines.get(b"content-length", b"0")))
        self.tally.answered[int(head.split()[1])] += 1
        if self._note:
            self.tally.seen[lines.get(self._note, b"").decode()] += 1
        return lines.get(b"connection") != b"close"
