"""Bytes that are not quite HTTP, bodies without end, clients that are slow or many."""

import asyncio
import time
from collections.abc import AsyncIterator
from statistics import median

from app.config import Settings
from app.routers.auth import BODY_LIMIT as AUTH_LIMIT
from tests.hostile.conftest import BODY_LIMIT, BODY_TIMEOUT
from tests.hostile.process import ApiProcess
from tests.ports import HOST
from tests.support import API, World, eventually

MEGABYTE = 1024 * 1024
BLOCK = b"x" * 65536
RIVALS = 200
GROWTH = 48 * MEGABYTE


def head(*lines: bytes, path: bytes = b"/api/v1/auth/register") -> bytes:
    first = [b"POST " + path + b" HTTP/1.1", b"Host: testserver", b"Content-Type: application/json"]
    return b"\r\n".join([*first, *lines, b"", b""])


async def flood(opening: bytes, *, chunked: bool, pause: float = 0) -> AsyncIterator[bytes]:
    """100 MB."""
    yield opening
    for _ in range(100 * MEGABYTE // len(BLOCK)):
        yield b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK
        await asyncio.sleep(pause)


async def test_a_body_of_100_megabytes_is_refused(api: ApiProcess) -> None:
    """Announced or not, fast or slow, it is 413 long before its end, and the memory stays where it was."""
    announced, chunks = b"Content-Length: 104857600", b"Transfer-Encoding: chunked"
    before = api.rss
    for opening, chunked, pause in [
        (head(announced), False, 0),
        (head(announced), False, 0.01),
        (head(announced, b"Expect: 100-continue"), False, 0),
        (head(chunks), True, 0),
        (head(chunks), True, 0.05),
    ]:
        # All of the slow ones would take longer than this.
        answer = await api.stream(flood(opening, chunked=chunked, pause=pause), seconds=10)
        assert (answer.status, answer.code) == (413, "body_too_large")
        assert answer.headers["connection"] == "close"
    assert api.rss - before < GROWTH


async def test_a_body_that_nobody_reads_is_thrown_away(api: ApiProcess, world: World) -> None:
    """100 MB sent to a path that is not there, or with a GET, cost no memory and get that path's answer."""
    before = api.rss
    opening = head(b"Content-Length: 104857600", path=b"/nope")
    assert (await api.stream(flood(opening, chunked=False), seconds=5)).code == "not_found"
    opening = head(b"Content-Length: 104857600", path=b"/api/v1/doctors").replace(b"POST", b"GET", 1)
    assert (await api.stream(flood(opening, chunked=False), seconds=5)).status == 200
    assert api.rss - before < GROWTH


async def test_the_limit_is_exact(api: ApiProcess) -> None:
    """A body of just the limit is read, one byte more is refused, with its length announced or in chunks; strangers
    who sign up or in have a smaller one."""
    for path, limit, good in ((f"{API}/auth/register", AUTH_LIMIT, 422), (f"{API}/orders", BODY_LIMIT, 401)):
        for size, status in ((limit, good), (limit + 1, 413)):
            body = b'"' + b"x" * (size - 2) + b'"'
            assert (await api.ask("POST", path, body=body)).status == status
            chunked = head(b"Transfer-Encoding: chunked", path=path.encode())
            assert (await api.say(chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (size, body))).status == status


async def test_the_answer_413_arrives_before_the_connection_ends(api: ApiProcess) -> None:
    """A client that sends all of its too long body before it reads still gets the answer, not a reset connection."""
    for _ in range(5):
        reader, writer = await asyncio.open_connection(HOST, api.port)
        writer.write(head(b"Content-Length: 8388608") + b"x" * 8388608)
        async with asyncio.timeout(5):
            await writer.drain()
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"body_too_large"' in answer


async def test_a_slow_body_is_given_up(api: ApiProcess) -> None:
    """A body that stops, drips or never ends is 408 after the time that it has in all, not from byte to byte."""
    started = time.monotonic()
    answers = await asyncio.gather(
        api.say(head(b"Content-Length: 100")),
        api.say(head(b"Content-Length: 100"), *[b" "] * 50, pause=0.1),
        api.say(head(b"Transfer-Encoding: chunked"), *[b"1\r\n \r\n"] * 50, pause=0.1),
        api.say(head(b"Transfer-Encoding: chunked"), b"5\r\n{"),
    )
    assert [(answer.status, answer.code) for answer in answers] == [(408, "request_timeout")] * 4
    assert BODY_TIMEOUT * 0.9 < time.monotonic() - started < BODY_TIMEOUT + 2.5


async def test_a_head_without_end_is_given_up(api: ApiProcess) -> None:
    """More than 64 KiB of headers are 431, headers that drip are 408, a silent connection is closed; memory stays."""
    before = api.rss
    opening = b"GET /nope HTTP/1.1\r\nHost: testserver\r\n"
    for lines in ([b"X: " + b"a" * 70_000], [b"X: " + b"a" * 20_000_000], [b"X%d: a" % n for n in range(10_000)]):
        answer = await api.say(opening, b"\r\n".join(lines) + b"\r\n\r\n")
        assert (answer.status, answer.code) == (431, "head_too_large")
    assert (await api.ask("GET", "/nope", {"X": "a" * 60_000})).code == "not_found"
    started = time.monotonic()
    answer = await api.say(opening, *[b"X: a\r\n"] * 50, pause=0.1)
    assert (answer.status, answer.code) == (408, "request_timeout")
    reader, writer = await asyncio.open_connection(HOST, api.port)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert time.monotonic() - started < 2 * BODY_TIMEOUT + 4
    assert api.rss - before < GROWTH


async def test_smuggling_shapes_are_refused(api: ApiProcess) -> None:
    """Whatever two servers could read as two different requests is refused, and the connection is closed."""
    shapes = {
        "two lengths": (head(b"Content-Length: 2", b"Content-Length: 5"), b"{}"),
        "one length twice": (head(b"Content-Length: 2", b"Content-Length: 2"), b"{}"),
        "length and chunks": (head(b"Content-Length: 2", b"Transfer-Encoding: chunked"), b"0\r\n\r\n"),
        "chunks and length": (head(b"Transfer-Encoding: chunked", b"Content-Length: 2"), b"0\r\n\r\n"),
        "chunks not last": (head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), b"0\r\n\r\n"),
        "unknown coding": (head(b"Transfer-Encoding: xchunked"), b"0\r\n\r\n"),
        "space before colon": (head(b"Transfer-Encoding : chunked"), b"0\r\n\r\n"),
        "signed length": (head(b"Content-Length: +2"), b"{}"),
        "negative length": (head(b"Content-Length: -1"), b"{}"),
        "length of 30 digits": (head(b"Content-Length: " + b"9" * 30), b"{}"),
        "no hexadecimal chunk": (head(b"Transfer-Encoding: chunked"), b"zz\r\n"),
        "chunk of 2^68 bytes": (head(b"Transfer-Encoding: chunked"), b"fffffffffffffffff\r\n"),
        "folded header": (head(b"X: a\r\n b", b"Content-Length: 2"), b"{}"),
        "NUL in a header": (head(b"X: a\0b", b"Content-Length: 2"), b"{}"),
        "bare bytes": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
        "HTTP/3.0": (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", b""),
        "no ASCII in the path": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        "NUL in the path": (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    }
    for name, (opening, body) in shapes.items():
        reader, writer = await asyncio.open_connection(HOST, api.port)
        writer.write(opening + body + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 "), name
        assert b'"bad_request"' in answer, name
        assert b"smuggled" not in answer, name


async def test_an_upgrade_is_ignored(api: ApiProcess, world: World) -> None:
    """A request to switch to another protocol gets the answer of HTTP."""
    upgrade = {"Connection": "upgrade, close", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    answer = await api.ask("GET", f"{API}/doctors", upgrade | {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert answer.status == 200


async def test_many_idle_and_slow_clients_hold_nobody_up(api: ApiProcess, world: World, settings: Settings) -> None:
    """With 200 connections that are silent, drip their head or never send their body, others are served as before."""
    person = await world.person()
    openings = [b"", b"GET / HT", head(b"Content-Length: 100"), head(b"Transfer-Encoding: chunked") + b"5\r\n{"]
    writers = []
    for number in range(RIVALS):
        _, writer = await asyncio.open_connection(HOST, api.port)
        writer.write(openings[number % len(openings)])
        writers.append(writer)
    took = []
    for _ in range(20):
        started = time.monotonic()
        assert (await api.get(f"{API}/users/me", person.headers)).status == 200
        took.append(time.monotonic() - started)
    assert median(took) < 0.5
    for writer in writers:
        writer.close()

    async def quiet() -> bool:
        return (await api.get("/health/ready")).status == 200

    await eventually(quiet)
