"""What is kept of each answered request: its measure, and its line in the log."""

import asyncio
import logging
from time import time_ns

from starlette.types import Scope

from app.core.access_line import Answered, access_line, milliseconds
from app.core.context import bind_fields, bound_fields
from app.core.logging import get_logger, is_json, is_logged, process_name, write
from app.core.request_metrics import Asked, asked, observe


class AccessLog:
    """Notes requests, and measures and writes them when the loop comes round, some milliseconds later at most.

    Between two requests that takes several times as long as in a row: they throw its code and data out of the
    processor's caches (decision 107). What else is logged is written at once.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._noted: list[tuple[Asked, Answered]] = []

    def note(self, scope: Scope, *, method: str, status: int, seconds: float) -> None:
        """Keep a request, with the time that it is now and what is bound at this place. `method` is what was asked."""
        if not self._noted:
            asyncio.get_running_loop().call_soon(self._tell)
        # Not the scope itself: with it all that hangs on the request would live until then.
        client = scope.get("client")
        answered = Answered(
            method, scope["path"], status, seconds, client[0] if client else None, time_ns(), bound_fields()
        )
        self._noted.append((asked(scope), answered))

    def _tell(self) -> None:
        noted, self._noted = self._noted, []
        for request, answered in noted:
            observe(request, answered.status, answered.seconds)
        if not is_logged(logging.INFO):
            return
        if is_json():
            process = process_name()
            write("".join([f"{access_line(one, source=self._source, process=process)}\n" for _, one in noted]))
            return
        for _, one in noted:
            bind_fields(one.bound)
            shown = {
                "path": one.path,
                "status": one.status,
                "duration_ms": milliseconds(one.seconds),
                "client": one.client,
            }
            get_logger(self._source).info("request", method=one.method, **shown, at_ns=one.at_ns)
