"""A client of nobody in particular, and a transport that plays its partner."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import ClassVar

import httpx
from pydantic import BaseModel

from app.integrations.base import PartnerClient
from app.integrations.circuit_shared import Circuits
from app.integrations.policy import Policy

QUICK = Policy(connect=0.5, read=0.5, write=0.5, attempt=0.5, total=2, backoff=0.001, queue=0.05, open_for=0.05)
KEY = "key-that-nobody-may-see"


class Greeting(BaseModel):
    hello: str


class Vendor(PartnerClient):
    vendor: ClassVar[str] = "vendor"

    async def read(self) -> Greeting:
        return await self.call("read", "GET", "/greeting", answer=Greeting)

    async def order(self, *, idempotency_key: str | None = None) -> Greeting:
        return await self.call("order", "POST", "/orders", json={}, idempotency_key=idempotency_key, answer=Greeting)


Answer = httpx.Response | Exception
OK = httpx.Response(200, json={"hello": "world"})


class Partner(httpx.AsyncBaseTransport):
    """Answers in the order that was given, the last one for ever; keeps the requests."""

    def __init__(self, *answers: Answer, seconds: float = 0) -> None:
        self.requests: list[httpx.Request] = []
        self.seconds = seconds
        self.answers = list(answers) or [OK]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(self.seconds)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        stream = answer.stream
        if not isinstance(stream, Endless):
            stream = httpx.ByteStream(answer.content)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)


class Endless(httpx.AsyncByteStream):
    """A body without an end, which counts what was read of it."""

    def __init__(self) -> None:
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.given += 1000
            yield b" " * 1000


def client(partner: Partner, *, policy: Policy = QUICK, circuits: Circuits | None = None) -> Vendor:
    return Vendor(
        "https://vendor.example",
        circuits=circuits or Circuits(None),
        headers={"Authorization": f"Bearer {KEY}"},
        policy=policy,
        transport=partner,
    )


async def outcomes(call: Callable[[], Awaitable[object]], times: int) -> Iterator[str]:
    """How the call ends, several times in a row."""
    found = []
    for _ in range(times):
        try:
            await call()
            found.append("ok")
        except Exception as error:  # noqa: BLE001 - its kind is what is asked for
            found.append(type(error).__name__)
    return iter(found)
