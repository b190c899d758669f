"""What PostgreSQL tells every process at once (LISTEN/NOTIFY): which principals changed, and that signing keys did.

Triggers raise the notices, so that a change by hand counts as well. A process that does not hear for whatever reason
knows that it does not: `listening` is false, and nothing may be remembered.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakValueDictionary

from app.config import DatabaseSettings
from app.core.database import Database, WriteSession, is_unavailable, listening_connection, notify
from app.core.logging import get_logger

log = get_logger(__name__)
CHANNEL = "frontdesk"
PULSE = 1.0
"""Seconds between two proofs that this process still hears, and the longest that a proof may take."""
FOLLOW_WITHIN = 0.5
"""Seconds that an answer waits for this process to hear what the request has changed."""
RETRY_AFTER = 1.0

Hear = Callable[[str], None]


class Notices:
    """Hears notices, and calls whoever asked for their topic with what they say."""

    def __init__(self, settings: DatabaseSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._me = secrets.token_hex(8)
        # Held by whoever waits: a transaction that rolls back leaves nothing here.
        self._echoes: WeakValueDictionary[str, asyncio.Future[None]] = WeakValueDictionary()
        self._number = 0
        self._lost = asyncio.Event()
        self._topics: dict[str, list[Hear]] = {}
        self._on_deaf: list[Callable[[], None]] = []
        self.listening = False

    def subscribe(self, topic: str, hear: Hear, *, on_deaf: Callable[[], None]) -> None:
        """Call `hear` with what each notice says, and `on_deaf` whenever some may be missed from now on."""
        self._topics.setdefault(topic, []).append(hear)
        self._on_deaf.append(on_deaf)

    async def run(self) -> None:
        """Listen until cancelled, and again after every loss."""
        told = False
        while True:
            try:
                async with self._connection() as connection:
                    # The first proof comes through the pool: it fails where a pooler swallows what LISTEN asks for.
                    await self._proof(lambda text: notify(self._database.read, CHANNEL, text))
                    self.listening, told = True, False
                    log.info("listening for changes")
                    while not self._lost.is_set():
                        await _came(self._lost, within=PULSE)
                        await self._proof(lambda text: connection.execute("SELECT pg_notify($1, $2)", CHANNEL, text))
                        self.listening = not self._lost.is_set()
            except Exception as error:
                if not isinstance(error, TimeoutError | OSError) and not is_unavailable(error):
                    log.exception("listening for changes failed")
                elif not told:
                    log.warning("not listening for changes; every request reads its principal", error=repr(error))
                told = True
            finally:
                self._deaf()
            await asyncio.sleep(RETRY_AFTER)

    async def follow(self, session: WriteSession) -> None:
        """Make the answer to this transaction wait until this process has heard what it has changed so far."""
        if not self.listening:
            return
        text, heard = self._expect()
        await notify(session, CHANNEL, text)

        async def wait() -> None:
            try:
                await asyncio.wait_for(heard, FOLLOW_WITHIN)
            except TimeoutError:
                log.warning("a notice of our own did not come in time")
                self._deaf()

        session.before_answer(wait)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        self._lost.clear()
        async with listening_connection(self._settings) as connection:
            connection.add_termination_listener(lambda _: self._deaf())
            await connection.add_listener(CHANNEL, self._heard)
            yield connection

    async def _proof(self, send: Callable[[str], Awaitable[Any]]) -> None:
        text, heard = self._expect()
        async with asyncio.timeout(PULSE):
            await send(text)
            await heard

    def _expect(self) -> tuple[str, asyncio.Future[None]]:
        self._number += 1
        text = f"echo {self._me}/{self._number}"
        self._echoes[text] = heard = asyncio.get_running_loop().create_future()
        return text, heard

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        echo = self._echoes.get(payload)
        if echo is not None and not echo.done():
            echo.set_result(None)
        topic, _, said = payload.partition(" ")
        for hear in self._topics.get(topic, ()):
            hear(said)

    def _deaf(self) -> None:
        self.listening = False
        self._lost.set()
        for forget in self._on_deaf:
            forget()


async def _came(event: asyncio.Event, *, within: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within)
