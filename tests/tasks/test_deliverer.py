"""The deliverer at work: one slow partner is nobody else's business."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from app.tasks.deliverer import MOST_AT_ONCE, Deliverer
from tests.outgoing import Outgoing
from tests.receiver import receiver
from tests.support import eventually

HANGING, HEALTHY, ROUNDS = 12, 60, 4


@asynccontextmanager
async def at_work(outgoing: Outgoing, *, number: int = 1) -> AsyncIterator[None]:
    deliverers = [Deliverer(outgoing.container) for _ in range(number)]
    tasks = [asyncio.create_task(one.run()) for one in deliverers]
    try:
        yield
    finally:
        for one in deliverers:
            one.stop()
        await asyncio.wait(tasks, timeout=20)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def add(outgoing: Outgoing, where: str, rounds: int) -> None:
    """Deliveries of as many objects as rounds to every endpoint that fits."""
    await outgoing.world.execute(
        "INSERT INTO webhook_deliveries (endpoint_id, event, object_type, object_id, payload, expires_at)"
        " SELECT e.id, 'user.registered', 'user', n, '{}', now() + interval '3 days'"
        f" FROM webhook_endpoints e, generate_series(1, {rounds}) n WHERE {where}"
    )


async def test_what_happens_is_sent_by_itself(outgoing: Outgoing) -> None:
    """A deliverer finds what was written before it started and while it runs, until it is told to stop."""
    async with receiver() as partner:
        await outgoing.subscribe(partner.url(), "user.registered")
        await outgoing.register("ann@example.com")
        async with at_work(outgoing):
            await eventually(lambda: _has(partner.received, 1))
            await outgoing.register("bob@example.com")
            await eventually(lambda: _has(partner.received, 2))
    assert [row.status for row in await outgoing.rows()] == ["succeeded"] * 2


async def test_several_deliverers_send_nothing_twice(outgoing: Outgoing) -> None:
    """Two at work share what is due: each delivery is attempted once."""
    async with receiver() as partner:
        for _ in range(5):
            await outgoing.subscribe(partner.url(), "user.registered")
        await add(outgoing, "true", 20)
        async with at_work(outgoing, number=2):
            await eventually(lambda: _none_pending(outgoing))
    assert len(partner.received) == 100
    assert {row.attempts for row in await outgoing.rows()} == {1}


@pytest.mark.timeout(90)
async def test_partners_that_hang_delay_nobody_else(outgoing: Outgoing) -> None:
    """With a fifth of the partners hanging, each with a backlog, the others' deliveries are done within seconds, long
    before a hanging attempt has ended; and no partner ever has more than its share under way."""
    async with receiver(30.0) as hanging, receiver() as healthy:
        for _ in range(HANGING):
            await outgoing.subscribe(hanging.url(), "user.registered")
        for _ in range(HEALTHY):
            await outgoing.subscribe(healthy.url("/healthy"), "user.registered")
        await add(outgoing, f"e.url = '{hanging.url()}'", 200)
        async with at_work(outgoing):
            await eventually(lambda: _has(hanging.received, HANGING))
            await add(outgoing, f"e.url <> '{hanging.url()}'", ROUNDS)
            await eventually(lambda: _has(healthy.received, HEALTHY * ROUNDS), seconds=30)
            took = await outgoing.world.scalar(
                "SELECT max(d.last_attempt_at - d.created_at) FROM webhook_deliveries d"
                f" JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE e.url <> '{hanging.url()}'"
            )
            assert took < timedelta(seconds=8)
            assert hanging.most_under_way <= 2 * HANGING


@pytest.mark.timeout(60)
async def test_more_partners_hang_than_there_are_slots(outgoing: Outgoing) -> None:
    """Twice as many first attempts that hang as there are slots: the others are served long before these have ended,
    though nobody could know beforehand who would hang; and there is an end to how many are under way."""
    slots = 10
    settings = outgoing.container.settings.model_copy(deep=True)
    settings.webhooks.concurrency = slots
    outgoing = replace(outgoing, container=replace(outgoing.container, settings=settings))
    async with receiver(30.0) as hanging, receiver() as healthy:
        for _ in range(2 * slots):
            await outgoing.subscribe(hanging.url(), "user.registered")
        for _ in range(5):
            await outgoing.subscribe(healthy.url("/healthy"), "user.registered")
        await add(outgoing, f"e.url = '{hanging.url()}'", 20)
        async with at_work(outgoing):
            await eventually(lambda: _has(hanging.received, slots))
            await add(outgoing, f"e.url <> '{hanging.url()}'", 3)
            await eventually(lambda: _has(healthy.received, 15))
            assert await outgoing.world.scalar("SELECT count(*) FROM webhook_deliveries WHERE duration_ms > 5000") == 0
            assert hanging.most_under_way <= MOST_AT_ONCE * slots
    assert len(healthy.received) == 15


async def _has(received: Sequence[object], number: int) -> bool:
    return len(received) >= number


async def _none_pending(outgoing: Outgoing) -> bool:
    return not await outgoing.world.scalar("SELECT count(*) FROM webhook_deliveries WHERE status = 'pending'")
