"""What is wrong with a request that does not fit its schema, in words for who sent it."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from app.core.errors import UnsupportedMediaType
from app.schemas.base import MAX_FAULTS

Fault = dict[str, Any]
_PREFIXES = ("Value error, ", "Assertion failed, ")


def detail_of(faults: Sequence[Fault]) -> str:
    """The first of them in one line: where, and what is wrong there."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in faults[:3])


def encoded(request: Request) -> UnsupportedMediaType | None:
    """The refusal of a body that could not be read, when it is one in a content coding."""
    if request.headers.get("content-encoding", "identity").lower() == "identity":
        return None
    return UnsupportedMediaType("Content-Encoding is not supported: send the body as it is.")


def faults_of(request: Request, error: RequestValidationError) -> list[Fault]:
    """The faults of a request that its schema refuses. Raises UnsupportedMediaType for what was not read at all."""
    unread = isinstance(error.body, bytes)
    found = error.errors()
    if (unread or any(one["type"] == "json_invalid" for one in found)) and (refusal := encoded(request)):
        raise refusal
    if unread:
        # Not JSON by its name: FastAPI takes it for a text, of which any schema says that it is no object.
        found = [one for one in found if one["loc"] != ("body",)]
        said = (
            f"is {request.headers.get('content-type') or 'of no type'}: send JSON, with Content-Type: application/json"
        )
        found.append({"loc": ("body",), "msg": said, "type": "content_type"})
    # Two dependencies that read the same body find the same fault.
    told = dict.fromkeys(_told(one) for one in found)
    return [{"loc": list(loc), "msg": msg, "type": kind} for loc, msg, kind in list(told)[:MAX_FAULTS]]


def _told(one: Any) -> tuple[tuple[str | int, ...], str, str]:
    loc, msg, kind = one["loc"], one["msg"], one["type"]
    if kind == "json_invalid":
        # A position is no place in the document.
        loc, msg = loc[:1], f"is not JSON: {one['ctx']['error']} at character {loc[1]}"
    for prefix in _PREFIXES:
        msg = msg.removeprefix(prefix)
    return loc, msg, kind
