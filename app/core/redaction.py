"""Keeps secrets out of the log, whichever library writes the line."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

MASK = "***"
_SECRET_KEYS = re.compile(
    r"passw|secret|token|authorization|cookie|api_?key|otp|private|credential|signature|database_url|redis_url|dsn",
    re.IGNORECASE,
)
# Fields of ours whose names look secret and are not.
_HARMLESS_KEYS = frozenset({"token_type", "lease_token_age"})
_SECRET_TEXT = re.compile(
    r"(?P<url>://[^/\s:@]*:)[^@\s/]+(?=@)"
    r"|(?P<scheme>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<jwt>\beyJ)[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|(?P<webhook>\bwhsec_)[A-Za-z0-9+/=]+"
    r"|(?P<named>\b[\w-]*(?:password|secret|token|api_?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+"
    r"|(?P<bcrypt>\$(?:2[aby]|bcrypt-sha256)\$)[^\s\"']+",
    re.IGNORECASE,
)
_DEPTH = 6


def redact_text(text: str) -> str:
    """`text` without passwords, tokens and keys."""
    return _SECRET_TEXT.sub(lambda match: f"{match.group(match.lastgroup or 0)}{MASK}", text)


def redact(value: Any, depth: int = 0) -> Any:
    """`value` with secrets masked, at any level down to six."""
    if isinstance(value, str):
        return redact_text(value)
    if depth >= _DEPTH:
        return value if isinstance(value, int | float | bool | None) else MASK
    if isinstance(value, Mapping):
        return {
            key: MASK if _is_secret(key) and inner not in (None, "") else redact(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner, depth + 1) for inner in value]
    return value


def _is_secret(key: object) -> bool:
    return isinstance(key, str) and key not in _HARMLESS_KEYS and _SECRET_KEYS.search(key) is not None


def redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor."""
    for key, value in event.items():
        if isinstance(value, int | float | bool):
            continue
        if _is_secret(key) and value not in (None, ""):
            event[key] = MASK
        elif value is not None and key not in ("level", "timestamp", "logger"):
            event[key] = redact(value)
    return event
