"""Keeps secrets out of the log, whichever library writes the line."""

import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any

MASK = "***"
_NAMES = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|authorization|cookie|credential|signature|recovery[_-]?code"
    r"|(?:api|private|signing|encryption|access)[_-]?key|(?<![a-z])t?otp(?![a-z])"
)
_SECRET_KEYS = re.compile(rf"{_NAMES}|database_url|redis_url|broker_url|dsn", re.IGNORECASE)
# Fields whose names look secret and are not.
_HARMLESS_KEYS = frozenset({"token_type", "lease_token_age"})
_OWN_KEYS = frozenset({"level", "timestamp", "logger"})
# Every repetition before a `=` or `:` is bounded: a stranger who chooses a path must not choose how long this takes.
_NAMED = rf"(?:{_NAMES})[\w-]{{0,32}}\\?[\"']?\s{{0,4}}[=:]\s{{0,4}}"
_SECRET_TEXT = re.compile(
    r"(?P<url>://[^/\s:@]*:)[^\s/]+(?=@)"
    r"|(?P<cookies>\bcookie\\?[\"']?\s{0,4}[=:]\s{0,4}\\?[\"']?)[^\"'\\\r\n]+"
    rf"|(?P<quoted>{_NAMED}b?)(?P<quote>\\?[\"'])(?:(?!(?P=quote))(?:\\.|[^\\]))*"
    rf"|(?P<named>{_NAMED}(?:(?:Bearer|Basic)\s{{1,4}})?)[^\s\"'&,;}})\]]+"
    r"|(?P<scheme>\b(?:Bearer|Basic)\s{1,4})[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<jwt>(?<![\w-])(?-i:eyJ))[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|(?P<webhook>\b(?-i:whsec_))[A-Za-z0-9+/=]+"
    # PostgreSQL quotes the row that it refuses.
    r"|(?P<detail>\bDETAIL:\s{1,4})[^\r\n]+"
    r"|(?P<bcrypt>\$(?:2[aby]|bcrypt-sha256)\$)[^\s\"']+",
    re.IGNORECASE | re.DOTALL,
)
# Most of what is logged is of these characters alone: short of a JWT or a webhook secret no form above fits into them.
_is_plain = re.compile(r"[\w./-]*", re.ASCII).fullmatch
_NUMBERS = frozenset({int, float})
_DEPTH = 6


def redact_text(text: str) -> str:
    """`text` without passwords, tokens and keys."""
    # Letters and digits alone are the shortest way: each form above needs something else besides.
    if text.isalnum() or (_is_plain(text) and "eyJ" not in text and "whsec_" not in text):
        return text
    return _SECRET_TEXT.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    if match["quoted"] is not None:
        return f"{match['quoted']}{match['quote']}{MASK}"
    return f"{match[match.lastgroup or 0]}{MASK}"


def redact(value: Any, depth: int = 0) -> Any:
    """`value` with secrets masked, at any level down to six; what JSON does not know becomes text."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _redact_inside(value, depth) if depth < _DEPTH else MASK
    return redact_text(value.decode(errors="replace") if isinstance(value, bytes) else str(value))


def _redact_inside(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): redact_field(_key(key), inner, depth) for key, inner in value.items()}
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str | bytes):
        # A header, as ASGI and httpx list them.
        return [redact(value[0], depth + 1), redact_field(_key(value[0]), value[1], depth)]
    return [redact(inner, depth + 1) for inner in value]


def _key(key: object) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


def redact_field(key: str, value: Any, depth: int = -1) -> Any:
    """`value` as the field `key` may show it."""
    return MASK if is_secret(key) and not _says_nothing(value) else redact(value, depth + 1)


def _says_nothing(value: Any) -> bool:
    return value is None or isinstance(value, bool) or value == ""


@lru_cache(maxsize=1024)
def is_secret(key: str) -> bool:
    """Whether a field of this name is masked, whatever it holds."""
    return key not in _HARMLESS_KEYS and _SECRET_KEYS.search(key) is not None


@lru_cache(maxsize=1024)
def _sorted_out(keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of a line's fields those to look into, and those that are secret by their name; one answer a kind of line."""
    foreign = [key for key in keys if key not in _OWN_KEYS]
    return tuple(key for key in foreign if not is_secret(key)), tuple(key for key in foreign if is_secret(key))


def redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor."""
    looked_into, secret = _sorted_out(tuple(event))
    for key in looked_into:
        value = event[key]
        if type(value) is str:
            if not value.isalnum():
                event[key] = redact_text(value)
        elif type(value) not in _NUMBERS:
            event[key] = redact(value)
    for key in secret:
        if not _says_nothing(event[key]):
            event[key] = MASK
    return event
