"""Asking a process whether it is ready."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


async def probe(url: str, *, seconds: float = 3.0) -> str:
    """Empty when GET `url` answers 200, else what is wrong, in a few words."""
    try:
        status, body = await asyncio.wait_for(_get(url), seconds)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (OSError, ValueError, IndexError) as error:
        return f"no answer ({getattr(error, 'strerror', None) or type(error).__name__})"
    return "" if status == 200 else f"{status} {body[:300]}".strip()


async def _get(url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(64 * 1024)
        while b"\r\n\r\n" not in answer and (more := await reader.read(64 * 1024)):
            answer += more
    finally:
        writer.close()
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    return int(head.split()[1]), " ".join(body.split())
