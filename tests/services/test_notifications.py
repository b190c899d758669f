"""Mail to many: whom it reaches, that nobody gets two, and what becomes of it when something fails."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from app.config import Settings
from app.config.notifications import NotificationSettings
from app.core.enums import Role
from app.core.jobs import enqueue
from app.integrations.mail_message import Mail, MailRejected, MailUnavailable
from app.models import Notification
from app.schemas.messages.notifications import SendNotification
from app.services import notifications as service
from app.services.notification_outbox import Pace
from app.services.notifications import NotificationService
from app.tasks.attempt import Runner
from app.tasks.bodies.notifications import notification_bodies
from tests.support import World, eventually

PEOPLE = "INSERT INTO users (email, full_name, password_hash, email_verified) "
PEOPLE += "SELECT 'patient' || n || '@example.com', 'Patient ' || n, '!', true FROM generate_series(1, :number) n"


class Post:
    """A mailer that remembers, and does what the test wants of it."""

    def __init__(self, answer: Callable[[Mail], None] = lambda _: None) -> None:
        self.answer = answer
        self.taken: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        await asyncio.sleep(0)
        self.answer(mail)
        self.taken.append(mail)

    async def close(self) -> None:
        return

    @property
    def ids(self) -> list[str]:
        return [mail.message_id for mail in self.taken]


async def written(world: World, **values: Any) -> int:
    """A notification to all clients, and the job that sends it; the job's id."""
    row = {
        "template": "announcement",
        "subject": "News",
        "context": {"body": "We have moved."},
        "role": Role.CLIENT,
        "last_user_id": await world.scalar("SELECT max(id) FROM users"),
    }
    async with world.database.session_scope() as session:
        notification = Notification(**(row | values))
        session.add(notification)
        await session.flush()
        return await enqueue(session, SendNotification(notification_id=notification.id))


async def attempted(world: World, post: Post, job_id: int, settings: Settings | None = None) -> Any:
    """One attempt at the job, as a worker makes it; the job after it."""
    settings = settings or world.container.settings
    notifications = NotificationService(settings, world.database, post)
    await world.execute("UPDATE jobs SET run_at = now() WHERE id = :id", id=job_id)
    await Runner(world.database, notification_bodies(notifications), settings.jobs).run(job_id)
    return (await world.rows("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]


async def test_everybody_gets_one(world: World) -> None:
    """One mail to each of the audience, under a Message-ID of its own; progress and result count them."""
    await world.execute(PEOPLE, number=120)
    await world.admin()
    post, job_id = Post(), await written(world)
    job = await attempted(world, post, job_id)
    assert job.status == "succeeded"
    assert job.result == {"recipients": 120, "sent": 120, "failed_count": 0, "failed": []}
    assert (job.progress_done, job.progress_total) == (120, 120)
    assert sorted(mail.to for mail in post.taken) == sorted(f"patient{n}@example.com" for n in range(1, 121))
    assert len(set(post.ids)) == 120
    mail = next(mail for mail in post.taken if mail.to == "patient7@example.com")
    assert (mail.subject, "Hello Patient 7," in mail.text, "We have moved." in mail.html) == ("News", True, True)


async def test_who_is_left_out(world: World) -> None:
    """Who was deactivated, deleted, or has registered since gets no mail; who lost the role before it came neither."""
    there = await world.person()
    await world.person(is_active=False)
    await world.person(Role.ADMIN)
    gone = await world.person()
    await world.execute("UPDATE users SET deleted_at = now() WHERE id = :id", id=gone.id)
    job_id, post = await written(world), Post()
    await world.person()
    await attempted(world, post, job_id)
    assert [mail.to for mail in post.taken] == [there.email]


@pytest.mark.parametrize(("required", "reached"), [(False, 2), (True, 1)])
async def test_the_unverified(world: World, required: bool, reached: int) -> None:
    """Where nobody may sign in without a verified address, none without one gets mail; elsewhere they do."""
    await world.person()
    await world.person(email_verified=False)
    settings = world.container.settings.model_copy(update={"require_verified_email": required})
    post, job_id = Post(), await written(world)
    notifications = NotificationService(settings, world.database, post)
    await Runner(world.database, notification_bodies(notifications), settings.jobs).run(job_id)
    assert len(post.taken) == reached


async def test_who_is_refused_is_listed(world: World) -> None:
    """An address that is refused for good stops nobody else; the job succeeds and its result says who and why."""
    await world.execute(PEOPLE, number=130)

    def answer(mail: Mail) -> None:
        if mail.to != "patient5@example.com":
            raise MailRejected("550 no such user")

    post, job_id = Post(answer), await written(world)
    job = await attempted(world, post, job_id)
    assert (job.status, job.attempt) == ("succeeded", 1)
    assert {name: job.result[name] for name in ("recipients", "sent", "failed_count")} == {
        "recipients": 130,
        "sent": 1,
        "failed_count": 129,
    }
    assert len(job.result["failed"]) == service.LISTED_FAILURES
    one = next(one for one in job.result["failed"] if one["email"] == "patient1@example.com")
    assert one["reason"] == "550 no such user"


async def test_an_attempt_goes_on_where_the_last_one_stopped(world: World) -> None:
    """The server goes away in the middle: the next attempt mails those who are left, under the Message-IDs they would
    have had, and nobody a second time."""
    await world.execute(PEOPLE, number=100)

    def away(_: Mail) -> None:
        if len(post.taken) >= 60:
            raise MailUnavailable("connection refused")

    post, job_id = Post(away), await written(world)
    job = await attempted(world, post, job_id)
    assert (job.status, job.progress_done, job.progress_total) == ("queued", 60, 100)
    assert "connection refused" in job.error
    refused = post.answer
    assert refused is away
    post.answer = lambda _: None
    job = await attempted(world, post, job_id)
    assert (job.status, job.result["sent"], job.progress_done) == ("succeeded", 100, 100)
    assert (len(post.ids), len(set(post.ids))) == (100, 100)


async def test_one_who_can_not_be_reached_holds_up_nobody(world: World) -> None:
    """A mailbox that says "not now" is tried by later attempts alone, and after the last it is a failure, listed."""
    await world.execute(PEOPLE, number=30)

    def busy(mail: Mail) -> None:
        if mail.to == "patient3@example.com":
            raise MailUnavailable("450 mailbox busy")

    post, job_id = Post(busy), await written(world)
    job = await attempted(world, post, job_id)
    assert (job.status, len(post.taken)) == ("queued", 29)
    assert "1 of 30 mails could not be handed over yet" in job.error
    await world.execute("UPDATE jobs SET attempt = max_attempts - 1")
    job = await attempted(world, post, job_id)
    assert (job.status, job.result["sent"], len(post.taken)) == ("succeeded", 29, 29)
    assert job.result["failed"][0]["email"] == "patient3@example.com"


async def test_a_job_that_is_stopped_records_what_it_sent(world: World) -> None:
    """A worker that is told to stop gives the job back with nobody in doubt."""
    await world.execute(PEOPLE, number=200)
    post, job_id = Post(), await written(world)
    notifications = NotificationService(world.container.settings, world.database, post)
    runner = Runner(world.database, notification_bodies(notifications), world.container.settings.jobs)
    task = asyncio.create_task(runner.run(job_id))

    async def some() -> bool:
        return len(post.taken) >= 75

    await eventually(some, every=0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.count("notification_recipients") == len(post.taken) < 200
    job = await attempted(world, post, job_id)
    assert (job.status, job.attempt) == ("succeeded", 1)
    assert (len(post.ids), len(set(post.ids))) == (200, 200)


async def test_mails_go_out_at_the_pace_that_is_set(world: World) -> None:
    """At twenty a second, a quarter of a second lies between the first and the sixth."""
    await world.execute(PEOPLE, number=6)
    moments: list[float] = []
    post, job_id = Post(lambda _: moments.append(monotonic())), await written(world)
    slow = NotificationSettings(rate=20)
    await attempted(world, post, job_id, world.container.settings.model_copy(update={"notifications": slow}))
    assert len(moments) == 6
    assert moments[-1] - moments[0] > 0.2


async def test_the_audience_is_read_a_page_at_a_time(world: World) -> None:
    """Whoever is deactivated while the first hundred are mailed is not in the second, which was not read before."""
    await world.execute(PEOPLE, number=150)

    class Slow(Post):
        async def send(self, mail: Mail) -> None:
            if not self.taken:
                await world.execute("UPDATE users SET is_active = false WHERE email <> :first", first=mail.to)
            await super().send(mail)

    job = await attempted(world, post := Slow(), await written(world))
    assert (job.status, len(post.taken)) == ("succeeded", service.PAGE)


async def test_the_pace_is_kept() -> None:
    """Forty turns at two hundred a second take a fifth of a second, and a rest is not caught up with."""
    pace = Pace(200)
    began = monotonic()
    for _ in range(40):
        await pace.turn()
    assert monotonic() - began > 0.14
    await asyncio.sleep(0.2)
    began = monotonic()
    for _ in range(40):
        await pace.turn()
    assert monotonic() - began > 0.1
