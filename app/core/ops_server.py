"""The small HTTP server that a worker answers its operator with, in a thread of its own."""

import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.core.metrics import exposition
from app.core.metrics_fold import FolderBusy


class OpsServer:
    """`/metrics`, `/health/live`, `/health/ready` (200 once `ready()` holds). Raises OSError when the port is taken."""

    def __init__(self, *, host: str, port: int, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._socket = socket.create_server((host, port), backlog=16, reuse_port=False)
        routes = [
            Route("/metrics", self._metrics),
            Route("/health/live", self._live),
            Route("/health/ready", self._readiness),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", loop="asyncio", ws="none"
        )
        self._server = uvicorn.Server(config)
        # Signals belong to the worker, not to this thread.
        self._thread = threading.Thread(target=self._run, name="ops-server", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=2)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def _metrics(self, _: Request) -> Response:
        try:
            content, media_type = exposition()
        except FolderBusy as busy:
            return JSONResponse({"status": "unavailable", "detail": str(busy)}, 503)
        return Response(content, media_type=media_type)

    async def _live(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readiness(self, _: Request) -> Response:
        fine = self._ready()
        return JSONResponse({"status": "ok" if fine else "starting"}, 200 if fine else 503)
