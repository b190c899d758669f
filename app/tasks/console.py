"""`python -m app jobs …`: the ledger from a terminal, for whoever is on call."""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from app.config import Settings
from app.core.errors import DomainError
from app.core.job_changes import RedisAnnouncer, use_announcer
from app.core.jobs import Queue
from app.core.listing import Filter, PageQuery, Sort
from app.core.logging import configure_logging
from app.crud import job_control
from app.crud.jobs import jobs
from app.crud.schedules import schedules
from app.services.container import Container, build
from app.tasks.attempt import Runner
from app.tasks.bodies import bodies

Command = Callable[[Container, argparse.Namespace], Awaitable[int]]
ERROR_WIDTH = 60
DRAIN_BATCH, DRAIN_AT_ONCE = 100, 10


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry the command out; 1 when something that it names could not be done."""

    configure_logging(settings.log, process="jobs")
    command = COMMANDS[arguments.jobs_command]

    async def connected() -> int:
        async with _container(settings) as container:
            return await command(container, arguments)

    return asyncio.run(connected())


@asynccontextmanager
async def _container(settings: Settings) -> AsyncIterator[Container]:
    container = build(settings, role="worker", pooled=False)
    announcer = RedisAnnouncer(container.redis)
    use_announcer(announcer)
    try:
        yield container
        await announcer.flush()
    finally:
        use_announcer(None)
        await container.close()


async def _list(container: Container, arguments: argparse.Namespace) -> int:
    given = {name: getattr(arguments, name) for name in ("status", "queue", "name")}
    filters = tuple(Filter(name, "eq", value) for name, value in given.items() if value is not None)
    query = PageQuery(limit=arguments.limit, sort=(Sort("id", descending=True),), filters=filters)
    page = await jobs.page(container.database.read, query)
    head = ("ID", "NAME", "QUEUE", "STATUS", "ATTEMPT", "RUN AT", "ERROR")
    _table(
        head,
        [
            (
                row.id,
                row.name,
                row.queue.value,
                row.status.value,
                f"{row.attempt}/{row.max_attempts}",
                row.run_at,
                " ".join((row.error or "").split())[:ERROR_WIDTH],
            )
            for row in page.rows
        ],
    )
    return 0


async def _show(container: Container, arguments: argparse.Namespace) -> int:
    row = await jobs.get(container.database.read, arguments.id)
    if row is None:
        print(f"{arguments.id}: there is no such job")
        return 1
    print(json.dumps(dict(row._mapping), default=_plain, indent=2, ensure_ascii=False))
    return 0


async def _retry(container: Container, arguments: argparse.Namespace) -> int:
    return await _each(container, arguments.id, container.jobs.retry)


async def _cancel(container: Container, arguments: argparse.Namespace) -> int:
    return await _each(container, arguments.id, container.jobs.cancel)


async def _each(container: Container, ids: Sequence[int], step: Callable[..., Awaitable[Any]]) -> int:
    """Each in a transaction of its own: one that can't be done stops none of the others."""
    refused = 0
    for job_id in ids:
        try:
            async with container.database.session_scope() as session:
                job = await step(session, job_id=job_id, if_match=None)
            print(f"{job_id}: {job.status.value}")
        except DomainError as error:
            refused = 1
            print(f"{job_id}: {error.detail}")
    return refused


async def _drain(container: Container, arguments: argparse.Namespace) -> int:
    runner = Runner(container.database, bodies(container), container.settings.jobs)
    slots, outcomes, left = asyncio.Semaphore(DRAIN_AT_ONCE), Counter[str](), set[int]()

    async def attempt(job_id: int) -> None:
        async with slots:
            outcome = await runner.run(job_id)
        # Somebody else has it, or this version does not know its name.
        left.update([job_id] if outcome is None else [])
        outcomes.update([outcome.value] if outcome else [])

    queue = Queue(arguments.queue) if arguments.queue else None
    while due := await job_control.due(container.database.read, queue=queue, but_not=left, limit=DRAIN_BATCH):
        await asyncio.gather(*(attempt(job_id) for job_id in due))
    said = ", ".join(f"{number} {name}" for name, number in sorted(outcomes.items())) or "nothing was due"
    print(f"drain: {said}" + (f", {len(left)} left to others" if left else ""))
    return 0


async def _schedules(container: Container, _: argparse.Namespace) -> int:
    rows = await schedules.known(container.database.read)
    head = ("NAME", "CRON", "TIME ZONE", "LAST RUN", "LAST JOB", "NEXT RUN")
    _table(
        head, [(row.name, row.cron, row.timezone, row.last_run_at, row.last_job_id, row.next_run_at) for row in rows]
    )
    return 0


def _plain(value: Any) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    lines = [head, *([("-" if cell in (None, "") else _plain(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


COMMANDS: Mapping[str, Command] = {
    "list": _list,
    "show": _show,
    "retry": _retry,
    "cancel": _cancel,
    "drain": _drain,
    "schedules": _schedules,
}
