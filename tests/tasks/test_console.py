"""`python -m app jobs …`."""

import json
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from app.__main__ import QUEUES, STATUSES, parser
from app.core.jobs import JobMessage, JobStatus, Queue, enqueue_many
from app.schemas.messages.housekeeping import Prune, Pruned, SendDueReminders
from app.schemas.messages.reports import DrawUtilisationReport
from app.schemas.reports import ReportFormat
from app.services.container import Container
from app.tasks.console import COMMANDS
from app.tasks.scheduler import Scheduler
from app.tasks.schedules import schedules
from tests.support import World, next_weekday

Say = Any


class Unknown(JobMessage):
    name: ClassVar[str] = "test.of_a_newer_version"


@pytest.fixture
def say(container: Container, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command line in this process; gives its exit code and the lines that it printed."""

    async def run(line: str) -> tuple[int, list[str]]:
        arguments = parser().parse_args(["jobs", *line.split()])
        capsys.readouterr()
        code = await COMMANDS[arguments.jobs_command](container, arguments)
        return code, [text for text in capsys.readouterr().out.splitlines() if not text.startswith('{"source"')]

    return run


async def send(world: World, *messages: JobMessage) -> list[int]:
    async with world.database.session_scope() as session:
        return await enqueue_many(session, messages)


def test_the_command_line_knows_every_queue_and_status() -> None:
    """What may be asked for is what there is, and each command that is offered exists."""
    assert tuple(queue.value for queue in Queue) == QUEUES
    assert tuple(status.value for status in JobStatus) == STATUSES
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            parser().parse_args(["jobs", name, "--help"])
        assert ended.value.code == 0


async def test_jobs_are_listed_newest_first(world: World, say: Say) -> None:
    """A plain table, narrowed by filters; an error is shown on one line."""
    first, second = await send(world, SendDueReminders(), Prune(subject=Pruned.JOBS))
    await world.execute(
        "UPDATE jobs SET status = 'failed', finished_at = now(), error = 'two\nlines' WHERE id = :id", id=first
    )
    code, lines = await say("list")
    assert code == 0
    assert lines[0].split() == ["ID", "NAME", "QUEUE", "STATUS", "ATTEMPT", "RUN", "AT", "ERROR"]
    assert [line.split()[0] for line in lines[1:]] == [str(second), str(first)]
    _, failed = await say("list --status failed --queue io --name appointments.remind")
    assert len(failed) == 2
    assert failed[1].endswith("two lines")


async def test_one_job_is_shown_whole(world: World, say: Say) -> None:
    """Its row as JSON, with what its creator does not see; one that is not there is said so with exit code 1."""
    (job_id,) = await send(world, Prune(subject=Pruned.JOBS))
    code, lines = await say(f"show {job_id}")
    shown = json.loads("\n".join(lines))
    assert (code, shown["payload"], shown["unique_key"]) == (0, {"subject": "jobs"}, "jobs")
    assert await say("show 999") == (1, ["999: there is no such job"])


async def test_jobs_are_cancelled_and_repeated(world: World, say: Say) -> None:
    """Each is done for itself: what can't be is said, with exit code 1, and stops none of the others."""
    first, second = await send(world, SendDueReminders(), Prune(subject=Pruned.JOBS))
    assert await say(f"cancel {first} {second}") == (0, [f"{first}: cancelled", f"{second}: cancelled"])
    code, lines = await say(f"cancel 999 {first}")
    assert (code, lines) == (1, ["999: There is no such object.", f"{first}: The job is cancelled already."])
    code, lines = await say(f"retry {first} 999 {second}")
    assert (code, lines) == (1, [f"{first}: queued", "999: There is no such object.", f"{second}: queued"])


async def test_draining_attempts_all_that_is_due(world: World, say: Say) -> None:
    """Both queues, until nothing is due; what this version does not know is left, and what is due later waits."""
    day = next_weekday()
    report = DrawUtilisationReport(from_day=day, to_day=day + timedelta(days=7), format=ReportFormat.CSV)
    ids = await send(world, SendDueReminders(), *(Prune(subject=one) for one in Pruned), report, Unknown())
    (later,) = await send(world, report)
    await world.execute("UPDATE jobs SET run_at = now() + interval '1 hour' WHERE id = :id", id=later)
    code, lines = await say("drain --queue cpu")
    assert (code, lines[-1]) == (0, "drain: 1 succeeded")
    code, lines = await say("drain")
    assert (code, lines[-1]) == (0, f"drain: {len(ids) - 2} succeeded, 1 left to others")
    left = await world.rows("SELECT id FROM jobs WHERE status = 'queued' ORDER BY id")
    assert [row.id for row in left] == [ids[-1], later]


async def test_schedules_are_shown(world: World, container: Container, say: Say) -> None:
    """Every schedule with its next run; one that has never fired has a dash for the last."""
    await Scheduler(world.database, schedules(container.settings)).plan()
    code, lines = await say("schedules")
    assert code == 0
    assert [line.split()[0] for line in lines[1:]] == sorted(one.name for one in schedules(container.settings))
    assert all("  -  " in line for line in lines[1:])
