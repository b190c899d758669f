"""Sends webhooks to addresses that partners gave: checked, pinned, without redirects, with bounds on everything."""

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from app.integrations.public_addresses import AddressPolicy, AddressRefused, Resolver, Unresolvable, checked_addresses

MAX_ANSWER = 16 * 1024
"""Bytes of an answer that are read; the rest is cut off with the connection."""
KEPT_ANSWER = 1024
CONNECT_SECONDS = 5.0
BODY_SECONDS = 2.0
_MAX_RETRY_AFTER = 24 * 3600


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. `status` is None when there was no answer; then `error` says why."""

    status: int | None
    answer: str | None
    error: str | None
    seconds: float
    retry_after: float | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        return self.status == 410


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the very address that was checked: a name that changes between the two can't lead elsewhere.

    TLS still asks for the certificate of the name, and `Host` still says it.
    """

    def __init__(
        self,
        scheme: str,
        resolver: Resolver,
        policy: AddressPolicy,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._scheme = scheme
        self._resolver = resolver
        self._policy = policy
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await checked_addresses(self._resolver, self._policy, scheme=self._scheme, host=host, port=port)
        failure: Exception | None = None
        for address in addresses[:4]:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None  # noqa: S101 - there is at least one address
        raise failure

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class WebhookSender:
    """A connection for each webhook, so that each address is checked when it is called; certificates are verified.

    httpcore's pool is not used: it looks at all of its connections for every request, which at some hundred slow
    receivers is most of what a worker does.
    """

    def __init__(self, resolver: Resolver, policy: AddressPolicy) -> None:
        self._networks = {scheme: PinnedBackend(scheme, resolver, policy) for scheme in ("http", "https")}

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Not before it is needed: most processes call nobody, and loading the trusted roots takes 50 ms.
        return httpx.create_ssl_context()

    async def send(self, url: str, *, headers: Mapping[str, str], body: bytes, seconds: float) -> Outcome:
        """POST `body`; never raises for what the other side does, and never takes longer than `seconds`."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                status, answer, retry_after = await self._post(url, headers, body)
        except (httpcore.TimeoutException, TimeoutError):
            return _failed(f"no answer within {seconds:g} s", began)
        except AddressRefused as error:
            return _failed(f"the address {error}", began)
        except Unresolvable as error:
            return _failed(str(error), began)
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ssl.SSLError) as error:
            return _failed(f"{type(error).__name__}: {error}"[:300], began)
        return Outcome(status, answer, None, time.perf_counter() - began, retry_after)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str, float | None]:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        where = httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target)
        sent = [("Host", parts.netloc), ("Content-Length", str(len(body))), ("Connection", "close"), *headers.items()]
        timeouts = {"timeout": {"connect": CONNECT_SECONDS}}
        network = self._networks[parts.scheme]
        connection = httpcore.AsyncHTTPConnection(where.origin, ssl_context=self._tls, network_backend=network)
        try:
            response = await connection.handle_async_request(
                httpcore.Request("POST", where, headers=sent, content=body, extensions=timeouts)
            )
            answer = await _read_some(response)
            return response.status, _text(answer), _retry_after(response.headers)
        finally:
            await connection.aclose()


def _failed(error: str, began: float) -> Outcome:
    return Outcome(None, None, error, time.perf_counter() - began)


async def _read_some(response: httpcore.Response) -> bytes:
    """The beginning of the answer. Its status decides; a body that drips or never ends changes nothing any more."""
    answer = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in response.aiter_stream():
                answer += chunk
                if len(answer) >= MAX_ANSWER:
                    break
    except (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        pass
    return bytes(answer[:KEPT_ANSWER])


def _text(answer: bytes) -> str:
    return answer.decode(errors="replace").replace("\0", "\ufffd")


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds that the other side asks us to wait; the form with a date is not looked at."""
    value = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
    return float(min(int(value), _MAX_RETRY_AFTER)) if value.isdigit() and len(value) < 9 else None
