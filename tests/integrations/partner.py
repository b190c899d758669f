"""A client of nobody in particular, and respx in the place of its partner."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import ClassVar

import httpx
import respx
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


class Partner:
    """Answers in the order that was given, the last one for ever; keeps the requests, those given up too."""

    def __init__(self, *answers: Answer, seconds: float = 0) -> None:
        self.requests: list[httpx.Request] = []
        self.seconds = seconds
        self.answers = list(answers) or [OK]
        self._router = respx.MockRouter(assert_all_called=False)
        self._router.route(host__regex=r".+\.example$").mock(side_effect=self._answer)
        self.transport = httpx.MockTransport(self._handle)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(self.seconds)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        # respx reads a body before it hands it over; the wire's is still to be read.
        found = await self._router.async_handler(request)
        return httpx.Response(found.status_code, headers=found.headers, stream=found.stream)


class Endless(httpx.AsyncByteStream):
    """A body without an end, which counts what was read of it."""

    def __init__(self) -> None:
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.given += 1000
            yield b" " * 1000


def client(
    partner: Partner, *, policy: Policy = QUICK, circuits: Circuits | None = None, host: str = "vendor.example"
) -> Vendor:
    return Vendor(
        f"https://{host}",
        circuits=circuits or Circuits(None),
        headers={"Authorization": f"Bearer {KEY}"},
        policy=policy,
        transport=partner.transport,
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
