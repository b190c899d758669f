"""What runs by the clock, as an admin sees it."""

import httpx

from app.services.container import Container
from app.tasks.scheduler import Scheduler
from app.tasks.schedules import schedules
from tests.support import API, World, assert_problem


async def test_admins_see_the_schedules_with_their_last_and_next_run(
    world: World, client: httpx.AsyncClient, container: Container
) -> None:
    """Every schedule of the code is listed by name; after a firing, with its time and the job that came of it."""
    scheduler = Scheduler(world.database, schedules(container.settings))
    await scheduler.plan()
    await world.execute("UPDATE schedules SET next_run_at = now() WHERE name = 'reminders'")
    await scheduler.fire()
    answer = await client.get(f"{API}/schedules", headers=(await world.admin()).headers)
    assert answer.status_code == 200, answer.text
    listed = {one["name"]: one for one in answer.json()["items"]}
    assert list(listed) == sorted(one.name for one in schedules(container.settings))
    assert answer.json()["next_cursor"] is None
    reminders, nightly = listed["reminders"], listed["report.nightly"]
    assert reminders["last_job_id"] == await world.scalar("SELECT id FROM jobs")
    assert reminders["last_run_at"] < reminders["next_run_at"]
    assert (nightly["last_run_at"], nightly["last_job_id"]) == (None, None)
    assert (nightly["cron"], nightly["timezone"]) == ("30 1 * * *", container.settings.clinic.timezone)


async def test_nobody_else_sees_them(world: World, client: httpx.AsyncClient) -> None:
    """Clients are refused, strangers have to sign in."""
    assert_problem(await client.get(f"{API}/schedules", headers=(await world.person()).headers), 403, "forbidden")
    assert_problem(await client.get(f"{API}/schedules"), 401, "invalid_token")
