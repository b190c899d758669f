"""Sealed streams: whole or refused."""

from collections.abc import AsyncIterator

import pytest

from app.core.sealed_stream import FRAME, StreamBroken, opened, sealed

KEY, OTHER = b"k" * 32, b"o" * 32
HEAD = 48


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def seal(data: bytes, **options: str) -> bytes:
    return b"".join([part async for part in sealed(pieces(data), key=KEY, purpose=options.get("purpose", "a"))])


async def unseal(data: bytes, *keys: bytes, size: int = 70_001) -> bytes:
    return b"".join([part async for part in opened(pieces(data, size), keys=keys or (KEY,), purpose="a")])


@pytest.mark.parametrize("length", [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME])
async def test_what_was_sealed_comes_back(length: int) -> None:
    """Any length comes back byte for byte, in whatever pieces it travels, also under a key that is not the newest."""
    data = bytes(range(256)) * (length // 256) + b"x" * (length % 256)
    stored = await seal(data)
    assert await unseal(stored, OTHER, KEY) == data
    assert await unseal(stored, size=len(stored)) == data
    assert length < 64 or data[:64] not in stored


@pytest.mark.parametrize("kept", [0, HEAD - 1, HEAD, HEAD + 5, HEAD + FRAME + 16, HEAD + 2 * FRAME])
async def test_a_missing_end_is_seen(kept: int) -> None:
    """A stream that was cut off is refused wherever it was cut, also exactly between two frames."""
    stored = await seal(b"d" * (2 * FRAME + 10))
    with pytest.raises(StreamBroken):
        await unseal(stored[:kept])


async def test_what_was_altered_is_refused() -> None:
    """One bit, frames in another order, or bytes behind the end: refused."""
    stored = await seal(bytes(FRAME) + b"1" * FRAME + b"2" * 10)
    frame = FRAME + 16
    flipped = bytearray(stored)
    flipped[HEAD + 100] ^= 1
    first, second, rest = stored[HEAD:][:frame], stored[HEAD + frame :][:frame], stored[HEAD + 2 * frame :]
    for broken in (bytes(flipped), stored[:HEAD] + second + first + rest, stored + b"!", stored[:HEAD] + rest):
        with pytest.raises(StreamBroken):
            await unseal(broken)


async def test_the_wrong_key_and_the_wrong_thing_are_refused() -> None:
    """Another key, what was sealed for another purpose, and what was never sealed are refused, each in its words."""
    stored = await seal(b"data")
    with pytest.raises(StreamBroken, match="none of the keys"):
        await unseal(stored, OTHER)
    with pytest.raises(StreamBroken, match="belongs to something else"):
        await unseal(await seal(b"data", purpose="b"))
    with pytest.raises(StreamBroken, match="never sealed"):
        await unseal(b"PGDMP" + bytes(200))
