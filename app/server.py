"""Serving the API: uvicorn in this process, or gunicorn over several."""

import signal
import sys
from contextlib import suppress
from typing import Any, ClassVar

import uvicorn
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from uvicorn_worker import UvicornWorker

from app.config import Settings
from app.core.http_protocol import BoundedHttpProtocol
from app.core.http_server import DrainingServer
from app.core.logging import configure_logging
from app.core.metrics_files import forget_process

KEEP_ALIVE_SECONDS = 20
# uvicorn's grace < gunicorn's < the container's: the inner one always ends first.
OUTER_GRACE = 5
_COMMON: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "date_header": True,
    "timeout_keep_alive": KEEP_ALIVE_SECONDS,
    "http": BoundedHttpProtocol,
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
        GunicornServer(settings).run()


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
        sys.exit(Arbiter.WORKER_BOOT_ERROR)


class OneLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's logger without its own handlers: its lines go where all others go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True


class ApiWorker(UvicornWorker):  # type: ignore[misc]  # uvicorn-worker has no types
    """Set up by GunicornServer, which knows the settings."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**UvicornWorker.CONFIG_KWARGS, **_COMMON, "loop": "auto"}

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = DrainingServer(self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


def _die_with_parent(_server: Any, _worker: Any) -> None:
    # Without this a killed master leaves workers that hold the port.
    import ctypes  # noqa: PLC0415

    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _forget(_server: Any, worker: Any) -> None:
    forget_process(worker.pid)


class GunicornServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn as a library: its settings are ours."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        ApiWorker.CONFIG_KWARGS |= _proxies(settings) | {"timeout_graceful_shutdown": settings.api.shutdown_grace}
        values = {
            "bind": f"{settings.host}:{settings.port}",
            "workers": settings.api.processes,
            "worker_class": f"{__name__}.ApiWorker",
            "logger_class": OneLog,
            "graceful_timeout": settings.api.shutdown_grace + OUTER_GRACE,
            "keepalive": KEEP_ALIVE_SECONDS,
            "timeout": 60,
            "max_requests": settings.api.max_requests,
            "max_requests_jitter": settings.api.max_requests // 10,
            "post_fork": _die_with_parent,
            "child_exit": _forget,
            "control_socket_disable": True,
        }
        for name, value in values.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

        # The modules once, before the fork: a process and its successor begin at once, and share their memory.
        import app.main  # noqa: F401, PLC0415

    def load(self) -> Any:
        from app.main import create_app  # noqa: PLC0415 - the application itself in the worker, after the fork

        return create_app(self._settings)
