"""Documents on their way into storage: a part at a time, never as a whole in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from app.core.database import AnyRow
from app.integrations.storage import CHUNK_SIZE

Pages = AsyncIterator[Sequence[AnyRow]]


class Document(Protocol):
    """What is filled row by row on disk; every method blocks."""

    def add(self, rows: Sequence[AnyRow], /) -> None: ...

    def close(self) -> None: ...


@asynccontextmanager
async def written(begin: Callable[[Path], Document], pages: Pages) -> AsyncIterator[AsyncIterator[bytes]]:
    """The bytes of a document that `begin` makes and `pages` fill, in chunks; its file is gone after the block."""
    folder = await asyncio.to_thread(TemporaryDirectory, prefix="frontdesk-report-")
    try:
        path = Path(folder.name) / "document"
        # Threads throughout, so that the lease is renewed meanwhile.
        document = await asyncio.to_thread(begin, path)
        async for rows in pages:
            await asyncio.to_thread(document.add, rows)
        await asyncio.to_thread(document.close)
        yield _chunks(path)
    finally:
        await asyncio.to_thread(folder.cleanup)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    stream = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(stream.read, CHUNK_SIZE):
            yield chunk
    finally:
        await asyncio.to_thread(stream.close)
