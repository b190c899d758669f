"""Entity tags and preconditions (RFC 9110, 8.8.3 and 13.1)."""

import hashlib
import re

from pydantic import BaseModel

from app.core.errors import PreconditionFailed

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def version_tag(version: int) -> str:
    """The strong entity tag of a versioned object."""
    return f'"{version}"'


def content_tag(body: bytes) -> str:
    """The strong entity tag of a representation that has no version."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def shown_tag(shown: BaseModel) -> str:
    """The strong entity tag of what has no version, as it is shown."""
    return content_tag(shown.model_dump_json().encode())


def check_if_match(header: str | None, tag: str) -> None:
    """Let the change pass when the client saw the present version; PreconditionFailed otherwise (strong comparison)."""
    if header is None or header.strip() == "*":
        return
    if not any(f'"{value}"' == tag for weak, value in _TAG.findall(header) if not weak):
        raise PreconditionFailed


def none_match(header: str | None, tag: str) -> bool:
    """Whether the client already has this representation, so that 304 answers it (weak comparison)."""
    if header is None:
        return False
    return header.strip() == "*" or any(f'"{value}"' == tag for _, value in _TAG.findall(header))
