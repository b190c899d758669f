"""The outermost ASGI layer: request id, limits of the body, security headers, one log line and one form of error.

Pure ASGI, in one pass: each layer less is some microseconds that every request gets back (decision 7).
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.context import Cause, bound
from app.core.errors import BodyTooLarge, RequestTimeout
from app.core.logging import get_logger

log = get_logger("app.access")
_REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_DEFAULTS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_HSTS = "max-age=63072000; includeSubDomains"
_SILENT_PATHS = frozenset({"/health/live", "/health/ready", "/metrics"})
_CLIENT_CLOSED = 499
OnError = Callable[[Request, Exception], Awaitable[Response]]


class EdgeMiddleware:
    """`on_error` turns an exception that nobody handled into an answer; it never sees one after the answer has begun."""

    def __init__(self, app: ASGIApp, *, on_error: OnError, body_limit: int, body_timeout: float, hsts: bool) -> None:
        self.app = app
        self._on_error = on_error
        self._body_limit = body_limit
        self._body_timeout = body_timeout
        self._fixed = list((_HEADERS | ({"Strict-Transport-Security": _HSTS} if hsts else {})).items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in (b"x-request-id", b"traceparent")}
        request_id = _given(headers.get(b"x-request-id"), _REQUEST_ID) or uuid4().hex
        traceparent = _given(headers.get(b"traceparent"), _TRACEPARENT)
        with bound(Cause(request_id=request_id, traceparent=traceparent)):
            await self._handle(scope, receive, send, request_id)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status = 0

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in self._fixed:
                    headers[name] = value
                for name, value in _DEFAULTS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, self._limited(scope, receive), respond)
        except Exception as error:
            if status:
                log.error("failed while answering", exc_info=error)
                raise
            response = await self._on_error(Request(scope), error)
            await response(scope, receive, respond)
        finally:
            if scope["path"] not in _SILENT_PATHS:
                # RFC 9110 has no status for it; nginx's 499 is the field's habit.
                _log_access(scope, status or _CLIENT_CLOSED, time.perf_counter() - started)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, refusing a body that is too long or too slow; what was announced is refused before it is read."""
        if not any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]):
            return receive
        announced = _content_length(scope)
        received, done = 0, False
        deadline: float | None = None

        async def limited() -> Message:
            nonlocal received, done, deadline
            if done:
                return await receive()
            if announced > self._body_limit:
                raise BodyTooLarge
            loop = asyncio.get_running_loop()
            deadline = deadline or loop.time() + self._body_timeout
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise RequestTimeout from None
            received += len(message.get("body", b""))
            done = not message.get("more_body", False)
            if received > self._body_limit:
                raise BodyTooLarge
            return message

        return limited


def _given(value: bytes | None, form: re.Pattern[str]) -> str | None:
    text = value.decode("latin-1") if value is not None else ""
    return text if form.fullmatch(text) else None


def _content_length(scope: Scope) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0


def _log_access(scope: Scope, status: int, seconds: float) -> None:
    client = scope.get("client")
    log.info(
        "request",
        method=scope["method"],
        path=scope["path"],
        status=status,
        duration_ms=round(seconds * 1000, 2),
        client=client[0] if client else None,
    )
