"""The headers of answers, in the OpenAPI document: which operation has which follows from what it takes and answers."""

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
_TEXTS: Mapping[str, str] = {
    "Allow": "of a 405: the methods that there are",
    "Content-Disposition": "what the file is called",
    "ETag": "strong; for `If-Match` and `If-None-Match`",
    "Idempotency-Replayed": "`true` when this is the first answer to the key, once more",
    "Location": "where it is",
    "RateLimit-Policy": "requests of this class in a window of so many seconds: `6000;w=60`",
    "WWW-Authenticate": "how to sign in; of a 403, that the token's scope does not reach",
    "X-Request-ID": "the request's own, or a new one",
}
_NUMBERS: Mapping[str, str] = {
    "RateLimit-Limit": "requests of this class in a window of a minute",
    "RateLimit-Remaining": "how many of them are left",
    "RateLimit-Reset": "seconds to the end of the window",
    "Retry-After": "seconds",
}
_RATES = ("RateLimit-Policy", *(name for name in _NUMBERS if name.startswith("RateLimit")))


def described() -> Json:
    """Every header, for `components.headers`."""
    texts = {name: {"description": said, "schema": {"type": "string"}} for name, said in _TEXTS.items()}
    numbers = {
        name: {"description": said, "schema": {"type": "integer", "minimum": 0}} for name, said in _NUMBERS.items()
    }
    return texts | numbers


def add_headers(path: str, operation: Json) -> None:
    """Say of each answer of an operation which headers it has."""
    asked = {parameter["name"].lower() for parameter in operation.get("parameters", [])}
    for status, response in operation["responses"].items():
        names = sorted(set(_names(path, asked, status, response, signed_in=bool(operation.get("security")))))
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _names(path: str, asked: set[str], status: str, response: Json, *, signed_in: bool) -> Iterator[str]:
    # A new secret has no place of its own; one of an endpoint is a new version of the endpoint.
    made = status == "201" and "idempotency-key" in asked and "secret" not in path
    rotated = status == "201" and path.endswith("/secret")
    read = status in ("200", "304") and asked & {"if-match", "if-none-match"}
    job = status == "202" and "/JobRead" in str(response.get("content"))
    yield "X-Request-ID"
    # What partners send is not limited, and neither are probes.
    partners = "{provider}" in path
    if path.startswith("/api/v1/") and not partners:
        yield from _RATES
    if (status == "401" and not partners) or (status == "403" and signed_in):
        yield "WWW-Authenticate"
    if status == "4XX":
        yield "Allow"
    if path.endswith("/result") and status == "200":
        yield "Content-Disposition"
    if status in ("429", "503") or (status == "409" and "idempotency-key" in asked):
        yield "Retry-After"
    if made or job or status == "307":
        yield "Location"
    if made or rotated or read:
        yield "ETag"
    if "idempotency-key" in asked and status[0] == "2":
        yield "Idempotency-Replayed"
