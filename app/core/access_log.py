"""What is kept of each answered request: its measure, and its line in the log."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from time import time_ns
from typing import Any

from starlette.types import Scope
from structlog.typing import EventDict

from app.core.context import bind_fields, bound_fields
from app.core.logging import is_logged, write_events
from app.core.request_metrics import observe


class AccessLog:
    """Notes requests, and measures and writes them when the loop comes round, some milliseconds later at most.

    That takes 15 µs in a row and several times as long between two requests, which have thrown its code and data out
    of the processor's caches (decision 107). What else is logged is written at once.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._noted: list[tuple[Scope, str, int, float, int, Mapping[str, object]]] = []

    def note(self, scope: Scope, *, method: str, status: int, seconds: float) -> None:
        """Keep a request, with the time that it is now and what is bound at this place. `method` is what was asked."""
        if not self._noted:
            asyncio.get_running_loop().call_soon(self._tell)
        self._noted.append((scope, method, status, seconds, time_ns(), bound_fields()))

    def _tell(self) -> None:
        noted, self._noted = self._noted, []
        for scope, _, status, seconds, *_ in noted:
            observe(scope, status, seconds)
        if is_logged(logging.INFO):
            write_events("info", self._events(noted))

    def _events(self, noted: list[Any]) -> Iterator[EventDict]:
        for scope, method, status, seconds, at, bound in noted:
            bind_fields(bound)
            client = scope.get("client")
            yield {
                "source": self._source,
                "method": method,
                "path": scope["path"],
                "status": status,
                "duration_ms": round(seconds * 1000, 2),
                "client": client[0] if client else None,
                "event": "request",
                "at_ns": at,
            }
