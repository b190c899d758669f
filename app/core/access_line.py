"""The access line in JSON: what the pipeline of core/logging makes of it, to the byte, for half as much (decision 126).

Every request pays for its line. Its fields are known and in one order, so they need neither a dictionary nor the steps
that look what is in it.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

from app.core.redaction import is_secret, redact_field, redact_text
from app.core.timestamp import timestamp


class Answered(NamedTuple):
    """A request that was answered: `at_ns` says when, `bound` what other lines of it have."""

    method: str
    path: str
    status: int
    seconds: float
    client: str | None
    at_ns: int
    bound: Mapping[str, object]


def milliseconds(seconds: float) -> float:
    """As lines say it."""
    return round(seconds * 1000, 2)


_OWN = {"source", "method", "path", "status", "duration_ms", "client", "event", "process", "level", "timestamp"}
_SHORT = 128


@lru_cache(maxsize=16)
def _frame(source: str, process: str) -> tuple[str, str]:
    """What stands before the method, and between the bound fields and the time."""
    return f'{{"source": {quoted(source)}, "method": ', f'"process": {quoted(process)}, "level": "info", "timestamp": "'


@lru_cache(maxsize=256)
def _name(name: str) -> tuple[str, bool, bool]:
    return f"{quoted(name)}: ", is_secret(name), name in _OWN


def _shown(text: str) -> str:
    return quoted(redact_text(text))


# Methods, addresses and most paths come again and again; long ones are not kept, for they may be anybody's.
_again = lru_cache(maxsize=2048)(_shown)


def _chosen(text: str) -> str:
    return _again(text) if len(text) < _SHORT else _shown(text)


def _bound(fields: Mapping[str, object]) -> str:
    found = ""
    for name, value in fields.items():
        prefix, secret, own = _name(name)
        if own:
            continue
        if secret or type(value) not in {str, int}:
            found += f"{prefix}{json.dumps(redact_field(name, value), default=str)}, "
        elif type(value) is int:
            found += f"{prefix}{value}, "
        # Ids: nothing to mask in letters and digits, and nothing to escape.
        elif (text := str(value)).isalnum() and text.isascii():
            found += f'{prefix}"{text}", '
        else:
            found += f"{prefix}{_shown(text)}, "
    return found


def access_line(answered: Answered, *, source: str, process: str) -> str:
    """Without its end; what a stranger has chosen is redacted and escaped."""
    method, path, status, seconds, client, at_ns, bound = answered
    head, tail = _frame(source, process)
    return (
        f'{head}{_chosen(method)}, "path": {_chosen(path)}, "status": {status}, "duration_ms": {milliseconds(seconds)}'
        f', "client": {"null" if client is None else _chosen(client)}, "event": "request"'
        f', {_bound(bound)}{tail}{timestamp(at_ns)}"}}'
    )
