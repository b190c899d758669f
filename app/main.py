"""The composition root of the API: builds, wires, mounts; no logic."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from app import __version__
from app.config import Settings, get_settings
from app.core.application import Application
from app.core.connections import check_connections
from app.core.hosts import Cors, TrustedHosts
from app.core.job_changes import RedisAnnouncer, use_announcer
from app.core.logging import configure_logging, get_logger
from app.core.memory import settle
from app.core.middleware import SILENT_PATHS, BodyLimit, EdgeMiddleware
from app.core.request_limit import RequestLimitMiddleware
from app.core.tracing import start_tracing, stop_tracing, traces
from app.core.vitals import watch
from app.core.wakeup import RedisWaker, use_waker
from app.dependencies.callers import caller, request_limits
from app.routers import (
    appointments,
    audit_events,
    auth,
    doctors,
    health,
    job_events,
    jobs,
    metrics,
    notifications,
    openapi,
    orders,
    pages,
    photos,
    problems,
    products,
    second_factor,
    service_accounts,
    sessions,
    users,
    webhook_endpoints,
    webhooks,
    well_known,
)
from app.routers.direct import Direct
from app.routers.route import BASE_PATH
from app.routers.uploads import ENVELOPE
from app.services.container import build

log = get_logger(__name__)
DESCRIPTION = "A booking backend for clinics: nothing accepted is lost or done twice."


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    container = build(settings, role="api")
    app.state.container = container
    use_waker(RedisWaker(container.redis))
    use_announcer(RedisAnnouncer(container.redis))
    sizing = asyncio.create_task(check_connections(settings, container.database, role="api"))
    background = [asyncio.create_task(container.keys.watch()), asyncio.create_task(container.notices.run())]
    background.append(asyncio.create_task(watch(container.database, container.redis)))
    background.append(asyncio.create_task(container.circuits.watch()))
    settle()
    log.info("started", pid=os.getpid(), environment=settings.environment.value)
    try:
        yield
    finally:
        sizing.cancel()
        for task in background:
            task.cancel()
        use_waker(None)
        use_announcer(None)
        await container.close()
        await asyncio.to_thread(stop_tracing)


def _traced(settings: Settings) -> Callable[[MutableMapping[str, Any]], bool]:
    return lambda scope: scope["path"] not in SILENT_PATHS and traces(scope, settings.telemetry)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; settings are the environment's unless given."""
    settings = settings or get_settings()
    configure_logging(settings.log, process="api")
    start_tracing(settings.telemetry, process="api")
    app = Application(
        title="Frontdesk",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # An unknown path is 404 in the one form; a redirect would repeat whatever the Host header said.
        redirect_slashes=False,
        openapi_url="/openapi.json" if settings.docs_served else None,
        telemetry={"metrics": False, "logs": False, "operation_spans": False},
        traced=_traced(settings),
    )
    app.state.settings = settings
    for module in (
        auth,
        sessions,
        service_accounts,
        users,
        doctors,
        photos,
        appointments,
        job_events,
        jobs,
        notifications,
        audit_events,
        products,
        orders,
        webhooks,
        webhook_endpoints,
        second_factor,
    ):
        app.include_router(module.router, prefix=BASE_PATH)
    app.include_router(well_known.router)
    app.include_router(health.router)
    app.include_router(pages.router)
    metrics.serve(app)
    problems.install(app)
    openapi.install(app)
    _add_middleware(app, settings)
    return app


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    # The last one added is the outermost.
    app.add_middleware(RequestLimitMiddleware, limits=request_limits, caller=caller, refuse=problems.answer)
    if settings.api.cors_origins:
        app.add_middleware(
            Cors,
            origins=settings.api.cors_origins,
            credentials=settings.auth.cookie_mode,
            refuse=problems.answer,
        )
    # What follows a webhook needs; what comes before it is for browsers and users.
    app.add_middleware(Direct, path=f"{BASE_PATH}{webhooks.ADDRESS}", handle=webhooks.receive_directly)
    if "*" not in settings.api.allowed_hosts:
        app.add_middleware(TrustedHosts, hosts=settings.api.allowed_hosts, refuse=problems.answer)
    app.add_middleware(
        EdgeMiddleware,
        on_error=problems.unexpected,
        body=BodyLimit(settings.api.body_limit, settings.api.body_timeout),
        uploads={
            re.compile(rf"PUT .*{BASE_PATH}/doctors/[0-9]+/photo"): BodyLimit(
                settings.photos.upload_limit + ENVELOPE, settings.photos.upload_timeout
            ),
            re.compile(rf"POST .*{BASE_PATH}/webhooks/.*"): BodyLimit(
                min(webhooks.BODY_LIMIT, settings.api.body_limit), settings.api.body_timeout
            ),
            re.compile(rf"[A-Z]+ .*{BASE_PATH}/auth/.*"): BodyLimit(
                min(auth.BODY_LIMIT, settings.api.body_limit), settings.api.body_timeout
            ),
        },
        hsts=settings.production,
    )
