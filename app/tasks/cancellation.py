"""Ending tasks for certain.

`asyncio.wait_for` of Python 3.11, through which redis-py sends every command, swallows a cancellation that arrives when
its own part is done already: the task goes on as if nobody had asked. So loops end by an event, and what has to be
cancelled is cancelled until it has ended.
"""

import asyncio
from typing import Any

PATIENCE = 0.2


async def cancel(*tasks: asyncio.Task[Any], within: float) -> set[asyncio.Task[Any]]:
    """Cancel `tasks` until all have ended; gives those that still run after `within` seconds. Outcomes are dropped."""
    deadline = asyncio.get_running_loop().time() + within
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=PATIENCE)
        if asyncio.get_running_loop().time() >= deadline:
            break
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not report it as forgotten
    return pending


async def came(event: asyncio.Event, *, within: float) -> bool:
    """Wait for `event` at most `within` seconds; whether it came."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
