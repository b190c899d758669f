"""The outermost ASGI layer: request id, limits of the body, security headers, log line, metrics, one form of error.

Pure ASGI, in one pass: each layer less is some microseconds that every request gets back (decision 7).
"""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from opentelemetry.trace import SpanKind
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.access_log import AccessLog
from app.core.context import Cause, bound
from app.core.errors import BodyTooLarge, DomainError, RequestTimeout
from app.core.head import as_get
from app.core.logging import get_logger
from app.core.request_metrics import template_of
from app.core.spans import current_traceparent, keep_failure, new_traceparent

log = get_logger("app.access")
_REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# What a handler says itself stands.
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
_HSTS = {b"strict-transport-security": b"max-age=63072000; includeSubDomains"}
SILENT_PATHS = frozenset({"/health/live", "/health/ready", "/metrics"})
_CLIENT_CLOSED = 499
_LINGER_SECONDS = 2.0
OnError = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The bytes that a body may have, and the seconds that it may take."""

    size: int
    seconds: float


class EdgeMiddleware:
    """`on_error` turns an exception that nobody handled into an answer; never one after the answer has begun.

    `uploads` are the requests, as `METHOD path`, whose bodies have limits of their own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        on_error: OnError,
        body: BodyLimit,
        uploads: Mapping[re.Pattern[str], BodyLimit],
        hsts: bool,
    ) -> None:
        self.app = app
        self._on_error = on_error
        self._body_limit = body
        self._uploads = uploads
        self._access = AccessLog("app.access")
        self._headers = list((_HEADERS | (_HSTS if hsts else {})).items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in (b"x-request-id", b"traceparent")}
        request_id = _given(headers.get(b"x-request-id"), _REQUEST_ID) or os.urandom(16).hex()
        traceparent = current_traceparent() or _given(headers.get(b"traceparent"), _TRACEPARENT) or new_traceparent()
        client = scope.get("client")
        address = client[0] if client else None
        with bound(Cause(request_id=request_id, traceparent=traceparent, address=address)):
            await self._handle(scope, receive, send, request_id, traceparent)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_id: str, traceparent: str) -> None:
        started = time.perf_counter()
        status = 0
        body = self._body(scope, receive)
        asked, (scope, send) = scope["method"], as_get(scope, send)

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                said = message.get("headers", ())
                names = {name for name, _ in said}
                ours = [header for header in self._headers if header[0] not in names]
                message["headers"] = [*said, (b"x-request-id", request_id.encode()), *ours]
            elif body is not None and body.refused and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self.app(scope, body or receive, respond)
        except Exception as error:
            if status:
                log.exception("failed while answering")
                raise
            response = await self._on_error(Request(scope), error)
            await response(scope, receive, respond)
        finally:
            if scope["path"] not in SILENT_PATHS:
                seconds = time.perf_counter() - started
                # RFC 9110 has no status for it; nginx's 499 is the field's habit.
                self._access.note(scope, method=asked, status=status or _CLIENT_CLOSED, seconds=seconds)
                if status >= 500:
                    _keep_failure(scope, status, seconds, traceparent)

    def _body(self, scope: Scope, receive: Receive) -> "_Body | None":
        """None for a request that has no body."""
        headers = [header for header in scope["headers"] if header[0] in (b"content-length", b"transfer-encoding")]
        if not headers:
            return None
        announced = next((int(value) for name, value in headers if name == b"content-length" and value.isdigit()), 0)
        request = f"{scope['method']} {scope['path']}"
        limit = next((one for form, one in self._uploads.items() if form.fullmatch(request)), self._body_limit)
        return _Body(receive, announced=announced, limit=limit)


class BodyRefused(HTTPException):
    """`error` says why. An HTTPException, because FastAPI makes a 400 of anything else that reading a body raises."""

    def __init__(self, error: DomainError) -> None:
        super().__init__(400, error.detail)
        self.error = error


class _Body:
    """`receive`, refusing a body that is too long or too slow; what was announced is refused before it is read."""

    def __init__(self, receive: Receive, *, announced: int, limit: BodyLimit) -> None:
        self._receive = receive
        self._announced = announced
        self._limit = limit.size
        self._timeout = limit.seconds
        self._deadline: float | None = None
        self._received = 0
        self._done = False
        self.refused = False

    async def __call__(self) -> Message:
        if self._done:
            return await self._receive()
        if self._announced > self._limit:
            raise self._refusal(BodyTooLarge())
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise self._refusal(RequestTimeout()) from None
        self._received += len(message.get("body", b""))
        self._done = not message.get("more_body", False)
        if self._received > self._limit:
            raise self._refusal(BodyTooLarge())
        return message

    def _refusal(self, error: DomainError) -> BodyRefused:
        self.refused = True
        return BodyRefused(error)

    async def drain(self) -> None:
        """Throw away what still comes, for a moment: closing at once would reset the connection under the answer."""
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await self._receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass


def _given(value: bytes | None, form: re.Pattern[str]) -> str | None:
    text = value.decode("latin-1") if value is not None else ""
    return text if form.fullmatch(text) else None


def _keep_failure(scope: Scope, status: int, seconds: float, traceparent: str) -> None:
    template = template_of(scope)
    keep_failure(
        f"{scope['method']} {template}",
        kind=SpanKind.SERVER,
        traceparent=traceparent,
        started_ns=time.time_ns() - int(seconds * 1e9),
        reason=str(status),
        attributes={
            "http.request.method": scope["method"],
            "http.route": template,
            "http.response.status_code": status,
        },
    )
