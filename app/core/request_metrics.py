"""Request metrics per route template: rate, errors, duration."""

from typing import Any

from prometheus_client import Histogram
from starlette.types import Scope

REQUEST_SECONDS = Histogram(
    "http_request_duration_seconds",
    "Duration of requests by route template",
    ["method", "handler", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
UNMATCHED = "none"
Asked = tuple[str, str]
"""Method and template."""
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
# Bounded by routes, methods and classes of status; `labels` itself costs as much as the rest of this file.
_series: dict[tuple[str, str, int], Any] = {}


def template_of(scope: Scope) -> str:
    """The path of the route that FastAPI took, with its prefixes and parameters: `/api/v1/doctors/{doctor_id}`.

    Paths that nobody has mapped are one series, or a scanner could make thousands.
    """
    # An included route knows its prefixes by the context of its inclusion alone.
    taken = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    return getattr(taken, "path_format", UNMATCHED)


def asked(scope: Scope) -> Asked:
    """By what a request is counted."""
    return scope["method"] if scope["method"] in _METHODS else "other", template_of(scope)


def observe(request: Asked, status: int, seconds: float) -> None:
    """Count one answered request."""
    key = (*request, status // 100)
    series = _series.get(key)
    if series is None:
        series = _series[key] = REQUEST_SECONDS.labels(*request, f"{key[2]}xx")
    series.observe(seconds)
