"""Faults on demand: a control route sets the next ones, a header names one for a single request.

`X-Sandbox-Fault: status; status=500` does for one request what `POST /sandbox/faults` does for the next `times`.
All but `latency` and `status` act first: the partner has done what was asked, and its answer is what goes wrong.
"""

import asyncio
import os
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-sandbox-fault"
_GIGABYTE = 2**30
_CHUNK = b"\x20" * 65536
_UNTOUCHED = ("/sandbox", "/checkout")


class Fault(BaseModel):
    """`path` is the beginning of the paths it holds for; `times` None: until it is taken away."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["latency", "status", "lost_answer", "reset", "garbage", "huge", "drip"]
    path: str = "/"
    method: str | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    seconds: Annotated[float, Field(ge=0, le=3600)] = 60
    status: Annotated[int, Field(ge=400, le=599)] = 500
    retry_after: str | None = None
    bytes: Annotated[int, Field(ge=1)] = _GIGABYTE


class Faults:
    """Those that were asked for, oldest first."""

    def __init__(self) -> None:
        self.planned: list[Fault] = []
        self.requests = 0
        self.routes = [
            Route("/sandbox/faults", self.listed, methods=["GET"]),
            Route("/sandbox/faults", self.add, methods=["POST"]),
            Route("/sandbox/faults", self.clear, methods=["DELETE"]),
        ]

    def take(self, scope: Scope) -> Fault | None:
        """The fault for this request, counted down."""
        self.requests += 1
        named = next((value for name, value in scope["headers"] if name == HEADER), None)
        if named is not None:
            return _from_header(named.decode("latin-1"))
        for fault in self.planned:
            if scope["path"].startswith(fault.path) and fault.method in {None, scope["method"]}:
                if fault.times is not None:
                    fault.times -= 1
                    self.planned = [one for one in self.planned if one.times != 0]
                return fault
        return None

    async def listed(self, _: Request) -> Response:
        planned = [fault.model_dump() for fault in self.planned]
        return JSONResponse({"faults": planned, "requests": self.requests})

    async def add(self, request: Request) -> Response:
        try:
            self.planned.append(Fault.model_validate_json(await request.body()))
        except ValidationError as error:
            return JSONResponse({"error": {"code": "invalid_request", "message": str(error)}}, status_code=400)
        return await self.listed(request)

    async def clear(self, request: Request) -> Response:
        self.planned.clear()
        return await self.listed(request)


def _from_header(text: str) -> Fault | None:
    kind, *parts = [part.strip() for part in text.split(";")]
    values = dict(part.split("=", 1) for part in parts if "=" in part)
    try:
        return Fault.model_validate({"kind": kind, **values})
    except ValidationError:
        return None


class FaultyApp:
    """Pure ASGI: half an answer can't be made of a response object."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = None
        if scope["type"] == "http" and scope["path"] != "/" and not scope["path"].startswith(_UNTOUCHED):
            fault = self._faults.take(scope)
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "latency":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)
        elif fault.kind == "status":
            headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
            refusal = JSONResponse({"error": {"code": "on_demand"}}, status_code=fault.status, headers=headers)
            await refusal(scope, receive, send)
        else:
            await self._acted(fault, scope, receive, send)

    async def _acted(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        answered: list[Message] = []

        async def keep(message: Message) -> None:
            answered.append(message)

        await self._app(scope, receive, keep)
        start, body = answered[0], b"".join(message.get("body", b"") for message in answered[1:])
        if fault.kind == "lost_answer":
            await asyncio.sleep(fault.seconds)
            return  # and the server closes the connection, having nothing to say
        plain = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        if fault.kind == "reset":
            await send(start)
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            return
        if fault.kind == "garbage":
            await send({**start, "headers": plain})
            await send({"type": "http.response.body", "body": b"\x00{" + os.urandom(512)})
            return
        await send({**start, "headers": plain})
        await self._pour(fault, receive, send)

    async def _pour(self, fault: Fault, receive: Receive, send: Send) -> None:
        """A gigabyte as fast as it is taken, or a byte now and then, until the other side has had enough."""
        gone = asyncio.create_task(_disconnected(receive))
        chunk, pause = (_CHUNK, 0.0) if fault.kind == "huge" else (b" ", 0.1)
        left = fault.bytes if fault.kind == "huge" else int(fault.seconds / pause)
        try:
            while left > 0 and not gone.done():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                left -= len(chunk)
                await asyncio.sleep(pause)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
