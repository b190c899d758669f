"""Serving the API by several processes, which gunicorn starts, watches and replaces."""

import signal
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from uvicorn_worker import UvicornWorker

from app.config import Settings
from app.core.http_server import DrainingServer
from app.core.memory import settle
from app.core.metrics_files import forget_process

# uvicorn's grace < gunicorn's < the container's: the inner one always ends first.
OUTER_GRACE = 5


class OneLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's logger without its own handlers: its lines go where all others go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True


class ApiWorker(UvicornWorker):  # type: ignore[misc]  # uvicorn-worker has no types
    """Set up by GunicornServer, which knows the settings."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**UvicornWorker.CONFIG_KWARGS, "loop": "auto"}

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
    """Gunicorn as a library: its settings are ours. `options` are uvicorn's, for each worker."""

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        self._settings = settings
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        ApiWorker.CONFIG_KWARGS |= {**self._options, "timeout_graceful_shutdown": settings.api.shutdown_grace}
        values = {
            "bind": f"{settings.host}:{settings.port}",
            "workers": settings.api.processes,
            "worker_class": f"{__name__}.ApiWorker",
            "logger_class": OneLog,
            "graceful_timeout": settings.api.shutdown_grace + OUTER_GRACE,
            "keepalive": self._options["timeout_keep_alive"],
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

        settle()

    def load(self) -> Any:
        from app.main import create_app  # noqa: PLC0415 - the application itself in the worker, after the fork

        return create_app(self._settings)
