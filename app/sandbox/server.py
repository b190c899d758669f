"""`python -m app sandbox`: the partners as one local HTTP server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.config import Settings
from app.core.logging import configure_logging
from app.sandbox.checkout import CheckoutRoutes
from app.sandbox.control import ControlRoutes
from app.sandbox.faults import Faults, FaultyApp
from app.sandbox.home import HomeRoutes
from app.sandbox.marketplace import Catalogue, MarketplaceRoutes
from app.sandbox.payments import PaymentRoutes
from app.sandbox.store import Store
from app.sandbox.webhooks import WebhookSender, github, standard


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def create_app(settings: Settings, *, state: Path | None, webhook_url: str, first_wait: float = 0.5) -> Starlette:
    """The sandbox with its state in the file, or in memory; webhooks go to `webhook_url`/PROVIDER."""
    store, faults, catalogue = Store(state), Faults(), Catalogue()
    signers = {
        "payments": standard(settings.payments.webhook_secrets[0].get_secret_value()),
        "marketplace": github(settings.marketplace.webhook_secrets[0].get_secret_value()),
    }
    sender = WebhookSender(store, url=webhook_url, signers=signers, first_wait=first_wait)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sending = asyncio.create_task(sender.run())
        yield
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        store.close()

    return Starlette(
        routes=[
            Route("/health", _health),
            *PaymentRoutes(store, api_key=settings.payments.api_key.get_secret_value()).routes,
            *MarketplaceRoutes(catalogue, store, api_key=settings.marketplace.api_key.get_secret_value()).routes,
            *HomeRoutes(store, catalogue).routes,
            *CheckoutRoutes(store).routes,
            *ControlRoutes(store).routes,
            *faults.routes,
        ],
        middleware=[Middleware(FaultyApp, faults=faults)],
        lifespan=lifespan,
    )


def webhook_url(settings: Settings) -> str:
    """Where the service takes the partners' webhooks, as seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    return f"http://{host}:{settings.port}/api/v1/webhooks"


def server_options(settings: Settings) -> dict[str, Any]:
    return {"host": settings.host, "port": settings.sandbox.port, "log_config": None, "access_log": False}


def serve(settings: Settings) -> None:
    """Until SIGTERM."""
    configure_logging(settings.log, process="sandbox")
    app = create_app(settings, state=settings.sandbox.file, webhook_url=webhook_url(settings))
    # Clients that hang on a fault on demand are not waited for.
    uvicorn.run(app, timeout_graceful_shutdown=1, ws="none", **server_options(settings))
