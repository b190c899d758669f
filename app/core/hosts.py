"""Starlette's checks of `Host` and `Origin`, with a short way for the requests that nearly all are (decision 14)."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Probes and scrapes come by the address of a container or a pod; none of these paths is routed from outside.
_BY_ADDRESS = frozenset({"/health/live", "/health/ready", "/metrics"})
_VARY = (b"vary", b"Origin")


class TrustedHosts(TrustedHostMiddleware):
    """A host that is on the list as it was sent needs no parsing; what operators ask for is answered to any host."""

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        super().__init__(app, allowed_hosts)
        self._exact = frozenset(host.lower().encode() for host in allowed_hosts if "*" not in host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] in _BY_ADDRESS:
                await self.app(scope, receive, send)
                return
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) == 1 and hosts[0] in self._exact:
                await self.app(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


class Cors(CORSMiddleware):
    """A request without `Origin` comes from no browser's script: its answer only says that `Origin` would matter."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(name == b"origin" for name, _ in scope["headers"]):
            await super().__call__(scope, receive, send)
            return

        async def vary(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _VARY]
            await send(message)

        await self.app(scope, receive, vary)
