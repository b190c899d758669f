"""Files that appear whole or not at all: the ground under local storage and the file mailer."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

_TEMPORARY = ".tmp"


def is_temporary(path: Path) -> bool:
    """Whether the file is one that was not completed."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


class AtomicFile:
    """A file that stands under its name only once it is complete and on disk, for the account of this process alone:
    mails have links that let somebody in, backups have everything. So is its folder, when that is missing.

    Every method blocks and belongs in a thread. `discard` may be called at any time and from another thread, as happens
    when the caller is cancelled in the middle of a write, and leaves no temporary file behind. All but `discard` raise
    `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{uuid4().hex}{_TEMPORARY}")
        self._stream: BinaryIO | None = None
        self._closed = False
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._lock:
            self._opened().write(data)

    def commit(self) -> None:
        """Flush to disk and take the name, over whatever had it before."""
        with self._lock:
            stream = self._opened()
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()
            self._temporary.replace(self._path)
            self._closed = True
            _sync_directory(self._path.parent)

    def discard(self) -> None:
        """Remove what was written; after a commit it does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._stream is None:
                return
            with suppress(OSError):  # close() flushes first, which a full disk refuses once more
                self._stream.close()
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._closed:
            raise OSError("the file was discarded")
        if self._stream is None:
            # The way there is left as it is usual: embedded engines with an account of their own may live beside it.
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._stream = os.fdopen(descriptor, "wb")
        return self._stream


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` under `path`, replacing an older file in one step; blocks, raises `OSError`."""
    file = AtomicFile(path)
    try:
        file.write(data)
        file.commit()
    finally:
        file.discard()


def _sync_directory(directory: Path) -> None:
    # The rename itself is only durable once its directory is (fsync(2)).
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
