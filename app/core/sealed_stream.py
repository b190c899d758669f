"""A stream of any length, sealed: AES-256-GCM in frames, so that memory stays small and a missing end is seen.

Head: form, id of the key, salt. Then frames of `FRAME` bytes and a tag each; the last one may be shorter. Each stream
has a key of its own, derived from the given one and the salt; so the nonce is the number of the frame, with a mark on
the last one. A stream that was cut off, even between two frames, ends in a frame without it (the STREAM construction).
"""

import hmac
import os
from collections.abc import AsyncIterator, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FRAME = 256 * 1024
_TAG = 16
_FORM = b"FDSEAL1\n"
_ID, _SALT = 8, 32
_HEAD = len(_FORM) + _ID + _SALT


class StreamBroken(Exception):
    """The stream was altered or cut off, belongs to something else, or none of the keys fits it."""


async def sealed(chunks: AsyncIterator[bytes], *, key: bytes, purpose: str) -> AsyncIterator[bytes]:
    """Seal what comes. It opens for the same `purpose` alone."""
    head = _FORM + _key_id(key) + os.urandom(_SALT)
    cipher, number = _cipher(key, head), 0
    yield head
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        # One frame stays behind: only at the end is it known which one is the last.
        while len(held) > FRAME:
            yield cipher.encrypt(_nonce(number, last=False), bytes(held[:FRAME]), head + purpose.encode())
            del held[:FRAME]
            number += 1
    yield cipher.encrypt(_nonce(number, last=True), bytes(held), head + purpose.encode())


async def opened(chunks: AsyncIterator[bytes], *, keys: Sequence[bytes], purpose: str) -> AsyncIterator[bytes]:
    """What was sealed. Nothing of a frame is given before it has proved genuine; raises StreamBroken."""
    held, head, cipher, number = bytearray(), b"", None, 0
    async for chunk in chunks:
        held += chunk
        if cipher is None and len(held) >= _HEAD:
            head = bytes(held[:_HEAD])
            cipher = _cipher(_fitting(head, keys), head)
            del held[:_HEAD]
        while cipher is not None and len(held) > FRAME + _TAG:
            yield _open(cipher, number, bytes(held[: FRAME + _TAG]), head + purpose.encode(), last=False)
            del held[: FRAME + _TAG]
            number += 1
    if cipher is None:
        raise StreamBroken("it is cut off, or was never sealed")
    yield _open(cipher, number, bytes(held), head + purpose.encode(), last=True)


def _open(cipher: AESGCM, number: int, frame: bytes, bound_to: bytes, *, last: bool) -> bytes:
    try:
        return cipher.decrypt(_nonce(number, last=last), frame, bound_to)
    except (InvalidTag, ValueError):
        raise StreamBroken("it was altered or cut off, or belongs to something else") from None


def _fitting(head: bytes, keys: Sequence[bytes]) -> bytes:
    if not head.startswith(_FORM):
        raise StreamBroken("it was never sealed, or by another program")
    for key in keys:
        if hmac.compare_digest(head[len(_FORM) :][:_ID], _key_id(key)):
            return key
    raise StreamBroken("none of the keys is the one that it was sealed with")


def _key_id(key: bytes) -> bytes:
    """Names a key without saying anything of it."""
    return _derived(key, b"", b"frontdesk/stream/id", _ID)


def _cipher(key: bytes, head: bytes) -> AESGCM:
    return AESGCM(_derived(key, head[-_SALT:], b"frontdesk/stream/key", 32))


def _derived(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(key)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
