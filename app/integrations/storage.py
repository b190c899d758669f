"""Object storage: named bytes, written whole or not at all, read in chunks."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from app.core import errors
from app.integrations.files import AtomicFile, is_temporary

CHUNK_SIZE = 64 * 1024
_KEY = re.compile(r"[A-Za-z0-9._/-]{1,512}")
_SEGMENT_LENGTH = 200


class ObjectMissing(LookupError):
    """Nothing is stored under the key."""


class StorageUnavailable(errors.Unavailable):
    """The store can't do it now: full disk, missing permission, nobody there. Worth a retry.

    Its text says why, for the log; its `detail`, which a client may see, does not.
    """

    message = "Files can't be reached right now; try again."

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class Storage(Protocol):
    """Where files live. Keys are relative posix paths of `[A-Za-z0-9._/-]`; any other key raises `ValueError`."""

    async def put(self, key: str, chunks: AsyncIterator[bytes] | bytes) -> int:
        """Store under `key`, replacing what was there in one step; answers the size in bytes.

        An error of the source itself passes through unchanged, and nothing is stored. Raises `StorageUnavailable`.
        """
        ...

    def open(self, key: str) -> AsyncIterator[bytes]:
        """Read in chunks of at most 64 KiB. Nothing is touched before the first chunk is asked for, which is also
        when `ObjectMissing` and `StorageUnavailable` are raised: ask `size` first when the answer's head depends on it.
        """
        ...

    async def size(self, key: str) -> int:
        """Size in bytes. Raises `ObjectMissing`, `StorageUnavailable`."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; a missing one is fine, as for a job that runs again. Raises `StorageUnavailable`."""
        ...

    async def link(self, key: str, *, seconds: int, media_type: str, name: str | None = None) -> str | None:
        """An address from which anybody may fetch the object for so long, as a file of that name, or to be shown.

        None: this store has none, and the caller streams. Whether the object is there is not looked at. Raises
        `StorageUnavailable`.
        """
        ...

    def keys(self, folder: str) -> AsyncIterator[str]:
        """The keys of all objects below `folder`, in no order. Raises `StorageUnavailable`."""
        ...

    async def tidy(self, folder: str) -> None:
        """Remove what writers that were killed have left below `folder`; only when nobody writes there now.

        Raises `StorageUnavailable`.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class LocalStorage:
    """Storage in a directory of this machine; every touch of the disk is off the event loop."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, key: str, chunks: AsyncIterator[bytes] | bytes) -> int:
        file = AtomicFile(self._path(key))
        size = 0
        try:
            if isinstance(chunks, bytes):
                size = await _append(file, chunks)
            else:
                async for chunk in chunks:
                    size += await _append(file, chunk)
            if size == 0:
                await _append(file, b"")
            await _commit(file)
        finally:
            # Shielded: a second cancellation must not leave the temporary file behind.
            await asyncio.shield(asyncio.to_thread(file.discard))
        return size

    async def open(self, key: str) -> AsyncIterator[bytes]:
        path = self._path(key)
        try:
            stream = await asyncio.to_thread(path.open, "rb")
        except OSError as error:
            raise _translated(error, key) from error
        try:
            while True:
                try:
                    chunk = await asyncio.to_thread(stream.read, CHUNK_SIZE)
                except OSError as error:
                    raise _translated(error, key) from error
                if not chunk:
                    return
                yield chunk
        finally:
            await asyncio.to_thread(stream.close)

    async def size(self, key: str) -> int:
        path = self._path(key)
        try:
            if not await asyncio.to_thread(path.is_file):
                raise ObjectMissing(key)
            status = await asyncio.to_thread(path.stat)
        except OSError as error:
            raise _translated(error, key) from error
        return status.st_size

    async def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except (IsADirectoryError, NotADirectoryError):
            return
        except OSError as error:
            raise _translated(error, key) from error

    async def link(self, key: str, *, seconds: int, media_type: str, name: str | None = None) -> str | None:  # noqa: ARG002
        self._path(key)
        return None

    async def keys(self, folder: str) -> AsyncIterator[str]:
        for path in await self._files(folder):
            if not path.name.startswith("."):
                yield path.relative_to(self._directory).as_posix()

    async def tidy(self, folder: str) -> None:
        for path in await self._files(folder):
            if is_temporary(path):
                with _translating(folder):
                    await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _files(self, folder: str) -> list[Path]:
        top = self._path(folder)

        def look() -> list[Path]:
            return [path for path in top.rglob("*") if path.is_file()] if top.exists() else []

        with _translating(folder):
            return await asyncio.to_thread(look)

    async def close(self) -> None:
        return

    def _path(self, key: str) -> Path:
        return self._directory.joinpath(*check_key(key))


def check_key(key: str) -> list[str]:
    """The segments of a key. Raises `ValueError` for what no store of ours takes."""
    segments = key.split("/")
    # A leading dot covers `.` and `..`, and keeps half-written files out of reach.
    well_formed = all(0 < len(part) <= _SEGMENT_LENGTH and not part.startswith(".") for part in segments)
    if not _KEY.fullmatch(key) or not well_formed:
        raise ValueError(f"not a storage key: {key!r}")
    return segments


async def _append(file: AtomicFile, chunk: bytes) -> int:
    try:
        await asyncio.to_thread(file.write, chunk)
    except OSError as error:
        raise StorageUnavailable(str(error)) from error
    return len(chunk)


async def _commit(file: AtomicFile) -> None:
    try:
        await asyncio.to_thread(file.commit)
    except OSError as error:
        raise StorageUnavailable(str(error)) from error


@contextmanager
def _translating(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translated(error, key) from error


def _translated(error: OSError, key: str) -> ObjectMissing | StorageUnavailable:
    if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        return ObjectMissing(key)
    return StorageUnavailable(str(error))
