"""The short way to a handler that takes thousands of requests a second (decision 61)."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from app.routers import problems
from app.services.container import Container

Handle = Callable[[str, Request, Container], Awaitable[Response]]


class _Named:
    """What the metrics ask a route for."""

    def __init__(self, path_format: str) -> None:
        self.path_format = path_format


class Direct:
    """Hands `POST path`, whose one parameter is a name, to `handle`, past the framework's routing, dependencies and
    exit stacks. All else goes the long way, and so does what is traced: the framework's spans name its routes."""

    def __init__(self, app: ASGIApp, *, path: str, handle: Handle) -> None:
        self.app = app
        self._handle = handle
        self._path, path_format, _ = compile_path(path)
        self._route = _Named(path_format)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["type"] == "http" and scope["method"] == "POST" and scope.get("fastapi.telemetry") is None:
            found = self._path.match(scope["path"].removeprefix(scope.get("root_path", "")))
        if found is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = self._route
        request = Request(scope, receive)
        try:
            response = await self._handle(found[1], request, scope["app"].state.container)
        except Exception as error:
            foreseen = await problems.foreseen(request, error)
            if foreseen is None:
                raise
            response = foreseen
        await response(scope, receive, send)
