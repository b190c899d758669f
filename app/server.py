"""Serving the API: uvicorn in this process, or gunicorn over several."""

import signal
import sys
from contextlib import suppress
from typing import Any

import uvicorn

from app.config import Settings
from app.core.http_protocol import BoundedHttpProtocol
from app.core.http_server import DrainingServer
from app.core.logging import configure_logging

KEEP_ALIVE_SECONDS = 20
# Gunicorn's own for a worker that could not start.
BOOT_ERROR = 3
_COMMON: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "date_header": True,
    "timeout_keep_alive": KEEP_ALIVE_SECONDS,
    "http": BoundedHttpProtocol,
    # Or a request that was sent before the last one was answered begins in its context: its user, its trace.
    "reset_contextvars": True,
    # No route speaks WebSocket: its library is not even loaded, and an upgrade is ignored (RFC 9110, 7.8).
    "ws": "none",
}


def _proxies(settings: Settings) -> dict[str, Any]:
    trusted = settings.api.trusted_proxies
    return {"proxy_headers": bool(trusted), "forwarded_allow_ips": ",".join(trusted) or None}


def serve(settings: Settings) -> None:
    """Serve until SIGTERM; requests under way get `API_SHUTDOWN_GRACE` seconds."""
    configure_logging(settings.log, process="api")
    BoundedHttpProtocol.head_seconds = settings.api.body_timeout
    if settings.api.processes == 1:
        _serve_alone(settings)
    else:
        # Gunicorn and its worker are 25 modules that a process of its own has no use for.
        from app.server_processes import GunicornServer  # noqa: PLC0415

        GunicornServer(settings, _proxies(settings) | _COMMON).run()


def _serve_alone(settings: Settings) -> None:
    config = uvicorn.Config(
        "app.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=settings.api.shutdown_grace,
        **_proxies(settings),
        **_COMMON,
    )
    server = DrainingServer(config)
    # uvicorn raises the signal that it has obeyed once more: a process that has ended well says 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(BOOT_ERROR)
