"""Signatures of webhooks: Standard Webhooks (https://www.standardwebhooks.com) and GitHub's form, over raw bytes.

Headers are as ASGI has them: lower-case names and values in bytes. Whatever is wrong with them is InvalidSignature.
"""

import hmac
import re
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Protocol

from app.core.errors import Invalid, InvalidSignature

TOLERANCE = 300
"""Seconds that a sender's clock may be off, either way."""
PREFIX = "whsec_"
SECRET_BYTES = 32
_EVENT_ID = re.compile(rb"[\x21-\x7e]{1,255}")
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
# More signatures than a sender has secrets while it rotates them.
_MAX_SIGNATURES = 16
Headers = Iterable[tuple[bytes, bytes]]


class Verifier(Protocol):
    def verify(self, headers: Headers, body: bytes) -> str:
        """The event's id, when one of the secrets has signed it; InvalidSignature otherwise."""


def new_secret() -> str:
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def secret_key(secret: str) -> bytes:
    """The key of a `whsec_` secret; ValueError when it holds none."""
    text = secret.removeprefix(PREFIX)
    try:
        key = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise ValueError("a webhook secret must be whsec_ and base64") from None
    if not key:
        raise ValueError("a webhook secret must not be empty")
    return key


def sign(key: bytes, *, event_id: bytes, timestamp: bytes, body: bytes) -> bytes:
    """One entry of a `webhook-signature` header."""
    digest = hmac.digest(key, b".".join((event_id, timestamp, body)), "sha256")
    return b"v1," + b64encode(digest)


class StandardVerifier:
    """`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,… v1,…`; the timestamp within TOLERANCE."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [secret_key(secret) for secret in secrets]

    def verify(self, headers: Headers, body: bytes) -> str:
        found = _single(headers, b"webhook-id", b"webhook-timestamp", b"webhook-signature")
        event_id, timestamp, signatures = found.values()
        if not _EVENT_ID.fullmatch(event_id) or not _TIMESTAMP.fullmatch(timestamp):
            raise InvalidSignature
        if abs(time.time() - int(timestamp)) > TOLERANCE:
            raise InvalidSignature("The webhook's timestamp is too old or too new.")
        given = signatures.split(b" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
        expected = [sign(key, event_id=event_id, timestamp=timestamp, body=body) for key in self._keys]
        if not _same(expected, given):
            raise InvalidSignature
        return event_id.decode()


class GitHubVerifier:
    """`X-Hub-Signature-256: sha256=…` in hexadecimal; `X-Delivery-ID` names the event and is not signed."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [secret.encode() for secret in secrets]

    def verify(self, headers: Headers, body: bytes) -> str:
        headers = list(headers)
        (given,) = _single(headers, b"x-hub-signature-256").values()
        expected = [b"sha256=" + hmac.digest(key, body, "sha256").hex().encode() for key in self._keys]
        if not _same(expected, [given]):
            raise InvalidSignature
        event_ids = [value for name, value in headers if name == b"x-delivery-id"]
        if len(event_ids) != 1 or not _EVENT_ID.fullmatch(event_ids[0]):
            raise Invalid("must be there once: 1 to 255 printable characters", loc=("header", "x-delivery-id"))
        return event_ids[0].decode()


def _same(expected: Sequence[bytes], given: Sequence[bytes]) -> bool:
    """Every pair is compared, so that the time does not tell which of them fits."""
    return sum(hmac.compare_digest(one, other) for one in expected for other in given) > 0


def _single(headers: Headers, *names: bytes) -> dict[bytes, bytes]:
    """The values of these headers, in the order of `names`. One that is missing, or there twice, is no signature."""
    found: dict[bytes, bytes] = dict.fromkeys(names, b"")
    for name, value in headers:
        if name in found:
            if found[name]:
                raise InvalidSignature
            found[name] = value
    if not all(found.values()):
        raise InvalidSignature
    return found
