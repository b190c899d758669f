"""The one table from errors to answers, all of one form (RFC 9457)."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from app.core import errors
from app.core.context import current_cause
from app.core.database import is_retryable, is_unavailable
from app.core.logging import get_logger
from app.core.middleware import BodyRefused
from app.routers.faults import detail_of, encoded, faults_of

log = get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
STATUSES: Mapping[type[errors.DomainError], int] = {
    errors.Unauthenticated: 401,
    errors.InvalidSignature: 401,
    errors.InvalidGrant: 400,
    errors.InvalidGrantRequest: 400,
    errors.UnsupportedGrant: 400,
    errors.InvalidScope: 400,
    errors.InvalidClient: 401,
    errors.Forbidden: 403,
    errors.HostRefused: 400,
    errors.PreflightRefused: 400,
    errors.NotFound: 404,
    errors.Invalid: 422,
    errors.UnsupportedImage: 415,
    errors.UnsupportedMediaType: 415,
    errors.OutsideHours: 422,
    errors.IdempotencyMismatch: 422,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.RequestTimeout: 408,
    errors.BodyTooLarge: 413,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
}
_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request timeout",
    409: "Conflict",
    412: "Precondition failed",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Not valid",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
# RFC 6749, 5.2: what its clients read beside the problem.
_OAUTH_ERRORS = {"validation_error": "invalid_request", "mfa_required": "invalid_grant"}


def status_of(error: errors.DomainError) -> int:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem(
    request: Request,
    *,
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    faults: list[dict[str, Any]] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """One problem+json answer; `members` are of this problem alone."""
    body: dict[str, Any] = {
        "type": f"urn:frontdesk:problem:{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "code": code,
        "request_id": current_cause().request_id,
    }
    if faults is not None:
        body["errors"] = faults
    if request.url.path.endswith("/auth/token"):
        body |= {"error": _OAUTH_ERRORS.get(code, code), "error_description": detail}
    body |= members or {}
    content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
    return Response(content, status, dict(headers or {}), MEDIA_TYPE)


def answer(request: Request, error: errors.DomainError, **members: Any) -> Response:
    """What a refusal answers; `members` are of this problem alone."""
    headers = {}
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.InvalidClient):
        headers["WWW-Authenticate"] = 'Basic realm="frontdesk", charset="UTF-8"'
    if isinstance(error, errors.InsufficientScope):
        headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
    if isinstance(error, errors.BodyTooLarge | errors.RequestTimeout):
        # The rest of the body is not wanted: without this the server would read it to its end.
        headers["Connection"] = "close"
    if isinstance(error, errors.RateLimited | errors.Unavailable | errors.IdempotencyInFlight):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.UnsupportedMediaType):
        headers["Accept-Encoding"] = "identity"
    faults = error.errors if isinstance(error, errors.Invalid) else None
    return problem(
        request,
        status=status_of(error),
        code=error.code,
        detail=detail_of(faults) if faults else error.detail,
        headers=headers,
        faults=faults,
        members=members,
    )


async def _domain(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.DomainError)  # noqa: S101 - how the handler is registered
    return answer(request, error)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - how the handler is registered
    try:
        faults = faults_of(request, error)
    except errors.UnsupportedMediaType as refusal:
        return answer(request, refusal)
    return problem(request, status=422, code="validation_error", detail=detail_of(faults), faults=faults)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - how the handler is registered
    if isinstance(error, BodyRefused):
        return answer(request, error.error)
    if error.status_code == 400 and (refusal := encoded(request)):
        return answer(request, refusal)
    code = _CODES.get(error.status_code, "error")
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return problem(request, status=error.status_code, code=code, detail=str(error.detail), headers=headers)


def _allowed(request: Request) -> str:
    """Every method of the path; the router itself names those of one route alone."""
    path = request.scope["path"]
    fitting = [route for route in iter_route_contexts(request.app.routes) if route.path_regex.match(path)]
    same = [route.methods or () for route in fitting if route.path_format == fitting[0].path_format]
    methods = set().union(*same)
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


async def unexpected(request: Request, error: Exception) -> Response:
    """What nobody foresaw: 503 when the database is behind it, else 500; the reason goes to the log alone."""
    if is_unavailable(error) or is_retryable(error):
        log.warning("a part the request needs is unavailable", error=repr(error))
        return answer(request, errors.Unavailable())
    log.error("unhandled error", exc_info=error)
    return problem(
        request, status=500, code="internal_error", detail="Something went wrong on our side; it has been logged."
    )


_HANDLERS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    errors.DomainError: _domain,
    RequestValidationError: _validation,
    HTTPException: _http,
}


async def foreseen(request: Request, error: Exception) -> Response | None:
    """The answer to what a handler raised; None for what nobody foresaw."""
    handler = next((_HANDLERS[kind] for kind in type(error).__mro__ if kind in _HANDLERS), None)
    return await handler(request, error) if handler is not None else None


def install(app: FastAPI) -> None:
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
