"""`/metrics`, for Prometheus alone: the proxy must not route it."""

from fastapi import FastAPI, Response
from prometheus_fastapi_instrumentator import Instrumentator

from app.core.errors import Unavailable
from app.core.metrics import exposition
from app.core.metrics_files import metrics_folder
from app.core.metrics_fold import FolderBusy

PATH = "/metrics"


def _metrics() -> Response:
    # Not a coroutine: it reads files, and so runs in a thread.
    try:
        content, media_type = exposition()
    except FolderBusy:
        raise Unavailable("Another process is reading the metrics.") from None
    return Response(content, media_type=media_type)


def serve(app: FastAPI) -> None:
    """One process answers by the instrumentator; of several, any one for all."""
    if metrics_folder() is None:
        Instrumentator().expose(app, endpoint=PATH, include_in_schema=False)
    else:
        # Its collector would take longer with each worker that was ever recycled (decision 80).
        app.add_api_route(PATH, _metrics, include_in_schema=False)
