"""A notification survives the death of the worker that sends it: everybody gets one mail, nobody known two."""

from pathlib import Path

from app.core.enums import Role
from app.models import Notification
from app.schemas.messages.notifications import SendNotification
from tests.processes.ledger import Ledger
from tests.processes.process import Spawn
from tests.support import eventually

NUMBER = 150
PEOPLE = (
    "INSERT INTO users (email, full_name, password_hash) "
    "SELECT 'patient' || n || '@example.com', 'Patient ' || n, '!' FROM generate_series(1, :number) n"
)


async def test_a_worker_killed_in_the_middle_is_followed_by_one_that_goes_on(ledger: Ledger, spawn: Spawn) -> None:
    """SIGKILL in the middle: the next worker mails the rest, each under the Message-ID that it would have had; of those
    sent before, only the few in doubt are sent again, and they replace the same file."""
    world = ledger.world
    await world.execute(PEOPLE, number=NUMBER)
    async with world.database.session_scope() as session:
        notification = Notification(
            template="announcement",
            subject="News",
            context={"body": "We have moved."},
            role=Role.CLIENT,
            last_user_id=NUMBER,
        )
        session.add(notification)
    folder = world.container.settings.mail.directory

    def sent() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in Path(folder).glob("*.eml")}

    async def known() -> list[int]:
        return [row.user_id for row in await world.rows("SELECT user_id FROM notification_recipients")]

    async def in_the_middle() -> bool:
        return len(await known()) > 30

    first = await spawn("worker", NOTIFICATIONS_RATE="100").ready()
    (job_id,) = await ledger.send(SendNotification(notification_id=notification.id))
    await eventually(in_the_middle, every=0.01)
    first.kill()
    recorded, before = await known(), sent()
    assert len(recorded) <= len(before) < NUMBER
    await spawn("worker", NOTIFICATIONS_RATE="1000").ready()
    job = await ledger.reached(job_id, "succeeded", seconds=60)
    assert (job.attempt, job.progress_done, job.progress_total) == (2, NUMBER, NUMBER)
    assert (job.result["recipients"], job.result["sent"], job.result["failed"]) == (NUMBER, NUMBER, [])
    after = sent()
    stem = f"notification-{notification.id}.{int(notification.created_at.timestamp())}"
    assert after.keys() == {f"{stem}.{user_id}@example.com.eml" for user_id in range(1, NUMBER + 1)}
    again = [name for name, moment in before.items() if after[name] != moment]
    assert len(again) <= len(before) - len(recorded), "one who was known to have it got it again"
    assert all(
        after[f"{stem}.{user_id}@example.com.eml"] == before[f"{stem}.{user_id}@example.com.eml"]
        for user_id in recorded
    )
