"""The proxy of deploy/traefik, run for real in front of two processes of the API."""

import asyncio
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from app.config import Settings
from tests.hostile.process import ApiProcess
from tests.processes.traefik import ISSUED, LOOPBACK, Proxy
from tests.support import API, eventually


@pytest.fixture(scope="module")
async def apis(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[ApiProcess]]:
    """Two generations of the API, which believe the proxy and nobody else."""
    environment = {"LOG_FORMAT": "json", "API_TRUSTED_PROXIES": LOOPBACK, "API_SHUTDOWN_GRACE": "3"}
    made = [ApiProcess(tmp_path_factory.mktemp("api"), environment) for _ in range(2)]
    for one in made:
        await one.start()
    yield made
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
async def proxy(apis: list[ApiProcess], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    running = Proxy(tmp_path_factory.mktemp("traefik"))
    running.ask(*(one.url for one in apis))
    await running.answers(f"{API}/doctors", 200)
    yield running
    running.stop()


@pytest.fixture
async def public(proxy: Proxy) -> AsyncIterator[httpx.AsyncClient]:
    """A client that knows the public address alone."""
    async with httpx.AsyncClient(base_url=f"https://{LOOPBACK}:{proxy.https}", verify=False, timeout=20) as client:
        yield client


async def test_what_is_for_operators_is_not_routed(public: httpx.AsyncClient) -> None:
    """Metrics, health, documentation and the API's description are 404 from the proxy itself, as is any other host."""
    for path in ("/metrics", "/health/live", "/health/ready", "/docs", "/docs/x", "/openapi.json"):
        answer = await public.get(path)
        assert (answer.status_code, "x-request-id" in answer.headers) == (404, False), path
        assert (await public.post(path)).status_code == 404
    assert (await public.get(f"{API}/doctors", headers={"Host": "elsewhere.example"})).status_code == 404


async def test_plain_http_is_sent_to_https(proxy: Proxy) -> None:
    """Whoever comes without TLS is redirected, whatever the path, and told to stay."""
    async with httpx.AsyncClient(verify=False) as client:
        answer = await client.get(f"http://{LOOPBACK}:{proxy.http}{API}/doctors?limit=1")
    assert answer.status_code == 301
    assert answer.headers["location"] == f"https://{LOOPBACK}:{proxy.https}{API}/doctors?limit=1"


async def test_answers_carry_security_headers_and_no_server(public: httpx.AsyncClient) -> None:
    """HSTS and nosniff are there, and nothing names the program."""
    headers = (await public.get(f"{API}/doctors")).headers
    assert headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


async def test_a_spoofed_address_changes_nothing(public: httpx.AsyncClient, apis: list[ApiProcess]) -> None:
    """The address that the API logs is that of the connection, whatever the client says of itself."""
    name = os.urandom(8).hex()
    spoofed = {"X-Forwarded-For": "203.0.113.7", "X-Real-Ip": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
    answer = await public.get(f"{API}/doctors", headers=spoofed | {"X-Request-ID": name})
    assert answer.status_code == 200
    found: list[str] = []

    async def is_logged() -> bool:
        # The line is written after the answer has gone out.
        logs = "".join(one.log.read_text() for one in apis)
        found[:] = [line for line in logs.splitlines() if name in line and '"request"' in line]
        return bool(found)

    await eventually(is_logged, seconds=10)
    (line,) = found
    assert '"client": "127.0.0.1"' in line
    assert "203.0.113.7" not in line


async def say(proxy: Proxy, raw: bytes) -> bytes:
    """Send these very bytes over TLS; all that comes back within three seconds."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.https, ssl=context)
    writer.write(raw.replace(b"PATH", f"{API}/auth/logout".encode()).replace(b"HOST", LOOPBACK.encode()))
    await writer.drain()
    answer = b""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(3):
            while part := await reader.read(65536):
                answer += part
    writer.close()
    return answer


async def test_a_body_beyond_the_limit_never_reaches_the_api(proxy: Proxy, public: httpx.AsyncClient) -> None:
    """12 MiB are refused with 413 by the proxy as they are announced, 2 MiB by the API in its own form."""
    answer = await say(proxy, b"POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 12582912\r\n\r\nx")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"problem+json" not in answer
    small = await public.post(f"{API}/auth/register", content=b"x" * (2 * 1024 * 1024))
    assert (small.status_code, small.headers["content-type"]) == (413, "application/problem+json")


async def test_a_photo_that_the_proxy_keeps_on_disk_reaches_the_api(public: httpx.AsyncClient) -> None:
    """A body larger than what Traefik holds in memory goes through its temporary folder, to the API's own refusal."""
    answer = await public.put(f"{API}/doctors/1/photo", files={"file": b"x" * (3 * 1024 * 1024)})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


SMUGGLED = {
    "both lengths": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    "folded coding": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /metrics",
}


@pytest.mark.parametrize("head", SMUGGLED.values(), ids=SMUGGLED)
async def test_a_smuggled_request_is_not_answered(proxy: Proxy, head: bytes) -> None:
    """A request whose end two servers might see in different places brings one refusal, and no second answer."""
    answer = await say(proxy, b"POST PATH HTTP/1.1\r\nHost: HOST\r\n" + head)
    statuses = re.findall(rb"HTTP/1\.1 (\d{3})", answer)
    assert statuses in ([], [b"400"], [b"422"], [b"501"])
    assert b"frontdesk_" not in answer


async def test_a_process_that_ends_is_taken_out(public: httpx.AsyncClient, apis: list[ApiProcess]) -> None:
    """Once one of two processes has ended, a steady stream of reads is soon answered by the other alone."""
    seen: list[int] = []
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            seen.append((await public.get(f"{API}/doctors")).status_code)
            await asyncio.sleep(0.01)

    readers = [asyncio.create_task(read()) for _ in range(4)]
    await asyncio.to_thread(apis[0].stop)
    with socket.socket() as probe:
        assert probe.connect_ex((LOOPBACK, apis[0].port)) != 0
    before = len(seen)

    async def healed() -> bool:
        return len(seen) > before + 200 and set(seen[-100:]) == {200}

    await eventually(healed, seconds=20)
    stop.set()
    await asyncio.gather(*readers)
    assert set(seen) <= {200, 502}


async def test_prometheus_is_told_of_certificates(proxy: Proxy) -> None:
    """On a port of its own Traefik says when each certificate ends, by the name and label that the alert asks for."""
    async with httpx.AsyncClient() as client:
        shown = (await client.get(f"http://{LOOPBACK}:{proxy.metrics}/metrics")).text
    ends = re.search(rf'^traefik_tls_certs_not_after\{{cn="{ISSUED}",.*\}} ([0-9.e+]+)$', shown, re.MULTILINE)
    assert ends is not None
    assert 79 < (float(ends[1]) - time.time()) / 86400 < 81
