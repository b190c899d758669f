"""Handling what partners sent."""

from typing import Any

from app.core.database import WriteSession
from app.models import Doctor
from app.services.webhook_inbox import WebhookInbox
from tests.support import World


async def test_what_makes_no_sense_leaves_nothing_behind(world: World) -> None:
    """An applier that gives up half-way has done nothing, and its reason is kept with the event."""

    async def give_up(session: WriteSession, _: str, __: Any) -> bool:
        session.add(Doctor(full_name="Dr. House", specialty="Diagnostics", slot_minutes=30, hours=[]))
        await session.flush()
        raise ValueError("it makes no sense")

    await world.execute(
        "INSERT INTO webhook_events (provider, event_id, type, headers, body, job_id)"
        " VALUES ('payments', 'evt_1', 'moon.rose', '{}', '{}', 1)"
    )
    inbox = WebhookInbox(world.database, {}, {"payments": give_up})
    async with world.database.session_scope() as session:
        assert await inbox.handle(session, event_id=1) == {"status": "failed"}
    assert await world.count("doctors") == 0
    assert await world.scalar("SELECT error FROM webhook_events") == "it makes no sense"
