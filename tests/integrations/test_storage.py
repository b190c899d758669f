"""Local storage on a real directory."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.integrations.storage import CHUNK_SIZE, LocalStorage, ObjectMissing, StorageUnavailable


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "objects")


def kept(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


async def stream(*chunks: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if then is not None:
        raise then


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def content(storage: LocalStorage, key: str) -> bytes:
    return b"".join([chunk async for chunk in storage.open(key)])


@pytest.mark.parametrize("data", [b"", b"a", b"x" * CHUNK_SIZE, b"0123456789" * 20_000])
async def test_what_is_put_is_read_back(storage: LocalStorage, data: bytes) -> None:
    """Bytes come back unchanged, in chunks of 64 KiB at most, and their size is told by put and size alike."""
    assert await storage.put("reports/2026/job-1.pdf", data) == len(data)
    assert await storage.size("reports/2026/job-1.pdf") == len(data)
    chunks = [chunk async for chunk in storage.open("reports/2026/job-1.pdf")]
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= CHUNK_SIZE for chunk in chunks)


async def test_a_stream_is_stored_as_it_comes(storage: LocalStorage, tmp_path: Path) -> None:
    """Chunks of any size become one object, and no temporary file stays."""
    assert await storage.put("a.bin", stream(b"one", b"", b"two")) == 6
    assert await content(storage, "a.bin") == b"onetwo"
    assert kept(tmp_path) == ["objects/a.bin"]


async def test_an_empty_stream_is_an_empty_object(storage: LocalStorage) -> None:
    """Nothing is a content too."""
    assert await storage.put("a.bin", stream()) == 0
    assert await content(storage, "a.bin") == b""


async def test_a_second_put_replaces_the_first_for_new_readers_only(storage: LocalStorage) -> None:
    """A reader at work sees the old content to its end; the next one sees the new."""
    await storage.put("a.bin", b"o" * (2 * CHUNK_SIZE))
    reader = storage.open("a.bin")
    seen = await anext(reader)
    await storage.put("a.bin", b"new")
    seen += b"".join([chunk async for chunk in reader])
    assert seen == b"o" * (2 * CHUNK_SIZE)
    assert await content(storage, "a.bin") == b"new"


@pytest.mark.parametrize("error", [RuntimeError("the source broke"), ConnectionResetError("the source hung up")])
async def test_a_broken_source_stores_nothing(storage: LocalStorage, tmp_path: Path, error: Exception) -> None:
    """Its error passes through unchanged, what was stored before stays, and no temporary file is left."""
    await storage.put("a.bin", b"before")
    with pytest.raises(type(error)) as caught:
        await storage.put("a.bin", stream(b"half", then=error))
    assert caught.value is error
    assert await content(storage, "a.bin") == b"before"
    assert kept(tmp_path) == ["objects/a.bin"]


async def test_a_cancelled_put_stores_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    """Cancelled while it waits for its source, it leaves neither object nor temporary file."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await storage.put("a.bin", endless())
    assert kept(tmp_path) == []


async def test_a_full_disk_is_unavailable(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk refuses, the error is one worth a retry, and the half-written file is gone."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        await storage.put("a.bin", b"data")
    assert kept(tmp_path) == []


async def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    """Storing tells it as unavailable; there is nothing to read and nothing to delete."""
    (tmp_path / "objects").write_text("a file where the directory should be")
    storage = LocalStorage(tmp_path / "objects")
    with pytest.raises(StorageUnavailable):
        await storage.put("a.bin", b"data")
    with pytest.raises(ObjectMissing):
        await storage.size("a.bin")
    await storage.delete("a.bin")


@pytest.mark.parametrize("key", ["missing.bin", "reports", "reports/a.pdf/deeper"])
async def test_what_is_not_there_is_missing(storage: LocalStorage, key: str) -> None:
    """No object, a folder and a path below an object are all just missing; deleting them is fine."""
    await storage.put("reports/a.pdf", b"data")
    with pytest.raises(ObjectMissing):
        await storage.size(key)
    with pytest.raises(ObjectMissing):
        await content(storage, key)
    await storage.delete(key)
    assert await content(storage, "reports/a.pdf") == b"data"


async def test_delete_removes_and_may_be_repeated(storage: LocalStorage) -> None:
    """After a delete the object is missing, and a second delete changes nothing."""
    await storage.put("a.bin", b"data")
    await storage.delete("a.bin")
    await storage.delete("a.bin")
    with pytest.raises(ObjectMissing):
        await storage.size("a.bin")


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../a", "a/../b", "a/..", "a/./b", "a//b", "a/", ".hidden", "a/.b.tmp", "a\\b", "a b", "é",
     "a\n", "a\x00", "x" * 201, "a/" * 300 + "a"],
)  # fmt: skip
async def test_a_key_never_leaves_the_directory(storage: LocalStorage, tmp_path: Path, key: str) -> None:
    """Every call refuses a key that climbs, hides or isn't of the plain alphabet, before it touches the disk."""
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.put(key, b"data")
    with pytest.raises(ValueError, match="not a storage key"):
        await content(storage, key)
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.size(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.delete(key)
    assert kept(tmp_path) == []


async def test_the_event_loop_stays_free(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk takes its time, other work of the loop goes on."""
    released = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _descriptor: released.wait(5))
    put = asyncio.create_task(storage.put("a.bin", b"data"))
    await asyncio.sleep(0.05)
    assert not put.done()
    released.set()
    assert await put == 4


async def test_what_is_below_a_folder_is_listed_and_tidied(storage: LocalStorage, tmp_path: Path) -> None:
    """Keys below a folder are listed; half-written files are not, and are removed there and nowhere else."""
    for key in ("backups/a/1", "backups/b/2", "backupsnot/3"):
        await storage.put(key, b"x")
    halves = [tmp_path / "objects" / folder / ".0f.tmp" for folder in ("backups/a", "backupsnot")]
    for half in halves:
        half.write_bytes(b"half")
    assert {key async for key in storage.keys("backups")} == {"backups/a/1", "backups/b/2"}
    await storage.tidy("backups")
    assert [half.exists() for half in halves] == [False, True]
    assert [key async for key in storage.keys("nothing")] == []


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
async def test_nobody_else_on_the_machine_reads_it(tmp_path: Path) -> None:
    """A file and its folder are for this account alone; a folder that was there keeps its mode."""
    (tmp_path / "shared").mkdir(mode=0o755)
    storage = LocalStorage(tmp_path)
    for key in ("shared/file", "backups/one/database.dump", "backups/one/database.dump"):
        await storage.put(key, b"everything")
    named = ("shared", "shared/file", "backups/one", "backups/one/database.dump")
    assert [mode_of(tmp_path / name) for name in named] == [0o755, 0o600, 0o700, 0o600]
