"""Request metrics per route template: rate, errors, duration."""

from fastapi import FastAPI
from prometheus_client import Histogram
from prometheus_fastapi_instrumentator.metrics import Info
from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.requests import Request

REQUEST_SECONDS = Histogram(
    "http_request_duration_seconds",
    "Duration of requests by route template",
    ["method", "handler", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
UNMATCHED = "none"
_PROBES = ("/metrics", "/health/")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class RouteMetrics(PrometheusInstrumentatorMiddleware):
    """The instrumentator, which asks the router afterwards which route it took instead of matching all of them first."""

    def _get_handler(self, request: Request) -> tuple[str, bool]:
        return request.scope["path"], True

    def _is_handler_excluded(self, handler: str, is_templated: bool) -> bool:
        return handler.startswith(_PROBES)


def _observe(info: Info) -> None:
    # Paths and methods that nobody has mapped are one series, or a scanner could make thousands.
    template = info.request.scope.get("frontdesk.route", UNMATCHED)
    method = info.method if info.method in _METHODS else "other"
    REQUEST_SECONDS.labels(method, template, info.modified_status).observe(info.modified_duration)


def instrument(app: FastAPI) -> None:
    app.add_middleware(RouteMetrics, instrumentations=[_observe])
