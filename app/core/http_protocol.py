"""uvicorn's fast HTTP protocol, with the bounds that it lacks: the size of a request's head, and the time for it.

Without them one client could fill the memory with a header that never ends, or hold a connection that says nothing.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.core.shutdown import begin_shutdown

MAX_HEAD_BYTES = 64 * 1024
# How long a connection that is idle when the server begins to stop may still bring a request that was on its way.
LINGER_SECONDS = 1.0
_END = b"\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses a head of more than 64 KiB with 431 and one that takes more than `head_seconds` with 408; a connection
    that says nothing for as long is closed. What is not HTTP is answered with a problem (RFC 9457), too."""

    head_seconds: ClassVar[float] = 20

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()
        if self._draining:
            self._linger()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        fresh = not self._in_body
        if fresh and self._head_bytes + data.find(_END) > MAX_HEAD_BYTES:
            self._refuse_head()
            return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data) if fresh else 0
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
            elif self._head_timer is None:
                self._await_head()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body, self._head_bytes = False, True, 0
        self._stop_timer()
        super().on_headers_complete()
        if self._draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def shutdown(self) -> None:
        """Let what is under way end, and say `Connection: close` with its answer.

        A connection that is idle is not closed at once, as uvicorn does: the client's next request may be on its way,
        and would be lost.
        """
        begin_shutdown()
        if self._is_idle:
            self._linger()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, "bad_request", msg)

    @property
    def _draining(self) -> bool:
        return getattr(self.server_state, "draining", False)

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _linger(self) -> None:
        self.loop.call_later(LINGER_SECONDS, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self._is_idle and not self._in_head:
            self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request's head took too long to arrive.")
        else:
            # Nothing was asked: an answer could be taken for that to a request which is just on its way.
            self.transport.close()

    def _refuse_head(self) -> None:
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "The request's head is too large.")

    def _refuse(self, status: HTTPStatus, code: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        request_id = uuid4().hex
        problem = {
            "type": f"urn:frontdesk:problem:{code}",
            "title": status.phrase.capitalize(),
            "status": status.value,
            "detail": detail,
            "instance": "/",
            "code": code,
            "request_id": request_id,
        }
        body = json.dumps(problem).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
