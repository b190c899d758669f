"""Starlette's checks of `Host` and `Origin`, with a short way for the requests that nearly all are (decision 14)."""

from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import DomainError, HostRefused, PreflightRefused

Refuse = Callable[[Request, DomainError], Response]
# Probes and scrapes come by the address of a container or a pod; none of these paths is routed from outside.
_BY_ADDRESS = frozenset({"/health/live", "/health/ready", "/metrics"})
_VARY = (b"vary", b"Origin")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SENT = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    # Pages follow a job by fetch, because EventSource can't send a token; then this header is theirs to send.
    "Last-Event-ID",
    "X-Request-ID",
    "X-Session-Cookie",
    "traceparent",
    "tracestate",
)
SHOWN = (
    "ETag",
    "Location",
    "Retry-After",
    "X-Request-ID",
    "Idempotency-Replayed",
    "RateLimit-Policy",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "WWW-Authenticate",
    "Content-Disposition",
    "Allow",
)


class TrustedHosts:
    """Starlette's check of `Host`, refusing in the one form of errors.

    A host that is on the list as it was sent needs no parsing; what operators ask for is answered to any host.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], refuse: Refuse) -> None:
        async def accept(*_: object) -> None:
            """Say nothing: what the check itself says is its refusal."""

        self._app = app
        self._check = TrustedHostMiddleware(accept, allowed_hosts=hosts, www_redirect=False)
        self._refuse = refuse
        self._exact = frozenset(host.lower().encode() for host in hosts if "*" not in host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _BY_ADDRESS:
            named = [value for name, value in scope["headers"] if name == b"host"]
            if (len(named) != 1 or named[0] not in self._exact) and await self._refuses(scope, receive):
                await self._refuse(Request(scope), HostRefused())(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _refuses(self, scope: Scope, receive: Receive) -> bool:
        said: list[Message] = []

        async def hear(message: Message) -> None:
            said.append(message)

        await self._check(scope, receive, hear)
        return bool(said)


class Cors(CORSMiddleware):
    """A request without `Origin` comes from no browser's script: its answer only says that `Origin` would matter.

    A preflight that asks for too much is refused in the one form of errors.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], credentials: bool, refuse: Refuse) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_credentials=credentials,
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=SHOWN,
        )
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(name == b"origin" for name, _ in scope["headers"]):
            answer = self._preflight(scope) if scope["type"] == "http" and scope["method"] == "OPTIONS" else None
            await (answer(scope, receive, send) if answer else super().__call__(scope, receive, send))
            return

        async def vary(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _VARY]
            await send(message)

        await self.app(scope, receive, vary)

    def _preflight(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if "access-control-request-method" not in headers:
            return None
        answer = self.preflight_response(headers)
        if answer.status_code < 400:
            return answer
        refusal = self._refuse(Request(scope), PreflightRefused(f"{bytes(answer.body).decode()}."))
        for name, value in answer.headers.items():
            refusal.headers.setdefault(name, value)
        return refusal
