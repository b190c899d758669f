"""Asks a process, or the proxy in front of it, whether it works."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from deploy.rollout.errors import RolloutError

PATIENCE = 5.0
EVERY = 0.2


@dataclass(frozen=True)
class Answer:
    """`status` is 0 when there was none; `text` then says why."""

    status: int
    headers: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.status or 'no answer'} {self.text[:300]}".strip()


def get(url: str, host: str, headers: Mapping[str, str] | None = None) -> Answer:
    """One GET with this Host. A certificate is not looked at: the address is on this machine."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = _Named(parts.hostname or "", parts.port or 443, host, context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PATIENCE)
    try:
        sent = {"Host": host, "Connection": "close", **(headers or {})}
        connection.request("GET", url.partition(parts.netloc)[2] or "/", headers=sent)
        answer = connection.getresponse()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, received, answer.read(4096).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, {}, repr(error))
    finally:
        connection.close()


class _Named(http.client.HTTPSConnection):
    """Connects to an address and asks for a name (SNI), by which the proxy chooses certificate and route."""

    def __init__(self, address: str, port: int, name: str, context: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=PATIENCE, context=context)
        self._name, self._tls = name, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name.partition(":")[0])


def until(works: Callable[[], str], *, seconds: float, what: str) -> None:
    """Ask until `works` has no fault to name. RolloutError with the last fault when the time is over."""
    deadline = time.monotonic() + seconds
    while fault := works():
        if time.monotonic() > deadline:
            raise RolloutError(f"{what} after {seconds:g} s: {fault}")
        time.sleep(EVERY)
