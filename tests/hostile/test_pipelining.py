"""Requests that a client sends before the one before them is answered."""

import asyncio
import json
import re

from tests.hostile.process import ApiProcess
from tests.ports import HOST
from tests.support import API, World, eventually


async def test_a_request_knows_nothing_of_the_one_before_it(api: ApiProcess, world: World) -> None:
    """On one connection, at once: what is logged of the second, which has no token, names nobody."""
    person = await world.person()
    first = {"X-Request-ID": "pipelined-1", **person.headers}
    reader, writer = await asyncio.open_connection(HOST, api.port)
    for headers in (first, {"X-Request-ID": "pipelined-2", "Connection": "close"}):
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "testserver", **headers}.items())
        writer.write(f"GET {API}/users/me HTTP/1.1\r\n{lines}\r\n".encode())
    async with asyncio.timeout(10):
        answers = await reader.read()
    writer.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"401"]

    async def both() -> bool:
        return "pipelined-2" in api.log.read_text()

    await eventually(both)
    lines_of = [json.loads(line) for line in api.log.read_text().splitlines() if '"pipelined-' in line]
    users = {line["request_id"]: line.get("user_id") for line in lines_of}
    assert users == {"pipelined-1": person.id, "pipelined-2": None}
