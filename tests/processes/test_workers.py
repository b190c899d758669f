"""Accepted work runs at least once and its effects happen once, whichever process is killed, frozen or stopped."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from app.core.context import Cause, bound
from deploy.local.engines import ValkeyEngine
from tests.processes.ledger import Ledger
from tests.processes.process import Process, Spawn, Workers, gone
from tests.support import eventually


def mails(ledger: Ledger) -> list[Path]:
    return list(ledger.world.container.settings.mail.directory.glob("*.eml"))


def files(ledger: Ledger, job: Any) -> list[str]:
    """What is in storage for the report of this job."""
    folder = ledger.world.container.settings.storage.directory / "reports"
    return sorted(path.name for path in folder.glob(f"{job.id}-*"))


def complaints(process: Process) -> list[Any]:
    """What its log says that an operator would have to look into."""
    return [
        line for line in process.lines() if line["level"] in {"error", "critical"} or "never retrieved" in str(line)
    ]


def begun(metrics: httpx.Response) -> float:
    """How many attempts a process and its children have begun, in all."""
    return sum(
        float(count) for count in re.findall(r"^frontdesk_job_wait_seconds_count.* (\S+)$", metrics.text, re.MULTILINE)
    )


async def test_both_workers_do_their_jobs_and_answer_their_operator(ledger: Ledger, workers: Workers) -> None:
    """A mail and a report are done within moments, logged with their cause as JSON, and counted in the metrics."""
    worker, celery = await workers.get("worker", "celery")
    with bound(Cause(request_id="r-42", user_id=7)):
        mail, report = await ledger.send(await ledger.mail(), ledger.report())
    for process, job_id, name in ((worker, mail, "mail.appointment"), (celery, report, "report.utilisation")):
        job = await ledger.reached(job_id, "succeeded")
        assert (job.started_at - job.created_at).total_seconds() < 5, "a wake-up, not a poll or a second publication"
        line = await process.logged("job", job_id=job_id)
        assert (line["job"], line["outcome"], line["attempt"]) == (name, "succeeded", 1)
        assert (line["request_id"], line["user_id"], line["process"]) == ("r-42", 7, process.name)
        for path in ("/health/live", "/health/ready"):
            assert ((await process.get(path)).status_code, (await process.get(path)).json()) == (200, {"status": "ok"})
        metrics = (await process.get("/metrics")).text
        assert f'frontdesk_jobs_total{{name="{name}",outcome="succeeded"}} 1.0' in metrics
        assert "frontdesk_build_info{" in metrics

    async def all_shown() -> bool:
        # They are looked at from time to time.
        shown = (await worker.get("/metrics")).text
        metrics = ["frontdesk_postgres_connections{", "frontdesk_redis_clients ", "frontdesk_db_pool_size "]
        metrics.append('frontdesk_partner_circuit_open{vendor="payments"}')
        return all(metric in shown for metric in metrics)

    await eventually(all_shown)
    assert [path.stem for path in mails(ledger)] == [(await ledger.job(mail)).result["message_id"].strip("<>")]
    assert len(files(ledger, await ledger.job(report))) == 1


async def test_a_mail_survives_the_death_of_its_worker(ledger: Ledger, workers: Workers) -> None:
    """A worker killed in the middle of a mail is followed by one that sends it: one file, by the second attempt."""
    (worker,) = await workers.get("worker")
    mail = await ledger.mail()
    async with ledger.held("appointments"):
        (job_id,) = await ledger.send(mail)
        await ledger.reached(job_id, "running")
        worker.kill()
    assert mails(ledger) == []
    await workers.get("worker")
    assert (await ledger.reached(job_id, "succeeded")).attempt == 2
    assert len(mails(ledger)) == 1


async def test_a_report_survives_the_death_of_its_process(ledger: Ledger, workers: Workers) -> None:
    """When the child that draws it is killed, Celery makes another, and the report is done without a hand. What the
    dead child has counted is still counted."""
    _, celery = await workers.get("worker", "celery")
    attempts = begun(await celery.get("/metrics"))
    async with ledger.held("doctors"):
        (job_id,) = await ledger.send(ledger.report())
        await ledger.reached(job_id, "running")
        (child,) = celery.children()
        os.kill(child, signal.SIGKILL)
    job = await ledger.reached(job_id, "succeeded")
    assert (job.attempt, len(files(ledger, job))) == (2, 1)
    assert child not in celery.children()
    assert begun(await celery.get("/metrics")) == attempts + 2


async def test_a_report_survives_the_death_of_celery(ledger: Ledger, workers: Workers) -> None:
    """When Celery itself is killed its children end with it, and the next one does the report."""
    _, celery = await workers.get("worker", "celery")
    async with ledger.held("doctors"):
        (job_id,) = await ledger.send(ledger.report())
        await ledger.reached(job_id, "running")
        children = celery.children()
        celery.signal(signal.SIGKILL)
        await celery.ended(seconds=5)
        for child in children:
            await gone(child)
    await workers.get("celery")
    job = await ledger.reached(job_id, "succeeded")
    assert (job.attempt, len(files(ledger, job))) == (2, 1)


async def test_a_worker_that_was_frozen_for_longer_than_its_lease_changes_nothing(
    ledger: Ledger, workers: Workers, spawn: Spawn
) -> None:
    """While a worker is frozen another takes its job over; when it thaws, what it brings is dropped and it goes on."""
    (frozen,) = await workers.get("worker")
    rival = spawn("worker")
    rival.signal(signal.SIGSTOP)
    try:
        mail = await ledger.mail()
        async with ledger.held("appointments"):
            (job_id,) = await ledger.send(mail)
            first = await ledger.reached(job_id, "running")
            frozen.signal(signal.SIGSTOP)
            rival.signal(signal.SIGCONT)
            second = await ledger.reached(job_id, "running", attempt=2)
            assert second.lease_token != first.lease_token
        done = await ledger.reached(job_id, "succeeded")
        frozen.signal(signal.SIGCONT)
        await frozen.logged("lease lost, the outcome is dropped", job_id=job_id)
        assert await ledger.job(job_id) == done
        assert (done.attempt, len(mails(ledger))) == (2, 1)
        assert await rival.stopped() == 0
        (again,) = await ledger.send(await ledger.mail())
        await ledger.reached(again, "succeeded")
        assert frozen.is_alive
    finally:
        rival.kill()


async def test_both_workers_survive_redis(ledger: Ledger, workers: Workers, own_valkey: ValkeyEngine) -> None:
    """Redis is killed and comes back empty: work accepted before and meanwhile is done by the same two processes."""
    worker, celery = await workers.get("worker", "celery")
    async with ledger.held("doctors"):
        before = await ledger.send(ledger.report(), ledger.report(), ledger.report())
        await ledger.reached(before[0], "running")

        async def one_in_hand() -> bool:
            return await ledger.left_in_celerys_queue() == 1

        # Celery holds the second message, and will find the connection broken when it acknowledges it.
        await eventually(one_in_hand)
        assert own_valkey.pid is not None
        os.kill(own_valkey.pid, signal.SIGKILL)
    meanwhile = await ledger.send(*[await ledger.mail()] * 3, ledger.report())
    await worker.logged("Redis is away; waiting")

    async def noticed() -> bool:
        return (await worker.get("/health/ready")).status_code == 503

    await eventually(noticed)
    own_valkey.start()
    assert await ledger.drained(seconds=30) == {"succeeded": len(before) + len(meanwhile)}
    assert len(mails(ledger)) == 3
    assert worker.is_alive
    assert celery.is_alive
    await worker.ready()


async def test_celery_survives_a_redis_that_is_full(ledger: Ledger, workers: Workers, own_valkey: ValkeyEngine) -> None:
    """Redis refuses to note who has a message: the same process goes on once there is room, and does what was lost."""
    _, celery = await workers.get("worker", "celery")
    redis = Redis.from_url(own_valkey.url)
    async with ledger.held("doctors"):
        ids = await ledger.send(*(ledger.report() for _ in range(4)))
        await ledger.reached(ids[0], "running")

        async def two_wait() -> bool:
            return await ledger.left_in_celerys_queue() == 2

        await eventually(two_wait)
        await redis.config_set("maxmemory", 1)
    try:

        async def has_met_it() -> bool:
            # Before it takes a message or after: there is more than one thing that Celery would note.
            return await ledger.left_in_celerys_queue() < 2 or "used memory" in celery.log()

        await eventually(has_met_it)
    finally:
        await redis.config_set("maxmemory", 0)
    # A message that was taken and not noted would be sent again when it is given up; here at once.
    await redis.flushall()
    await redis.aclose()
    assert await ledger.drained(seconds=30) == {"succeeded": len(ids)}
    assert celery.is_alive


async def test_a_worker_under_load_stops_cleanly_and_the_next_one_goes_on(ledger: Ledger, workers: Workers) -> None:
    """SIGTERM in the midst of 120 mails: it ends by itself with exit code 0, no job is left running or counts twice."""
    (worker,) = await workers.get("worker")
    ids = await ledger.send(*[await ledger.mail()] * 120)

    async def some() -> bool:
        return bool(await ledger.world.scalar("SELECT count(*) > 10 FROM jobs WHERE status = 'succeeded'"))

    await eventually(some, every=0.01)
    assert await worker.stopped() == 0
    assert complaints(worker) == []
    assert await ledger.world.scalar("SELECT count(*) FROM jobs WHERE status = 'running'") == 0
    assert await ledger.world.scalar("SELECT count(*) FROM jobs WHERE status = 'queued' AND attempt > 0") == 0
    await workers.get("worker")
    assert await ledger.drained() == {"succeeded": len(ids)}
    assert await ledger.world.scalar("SELECT max(attempt) FROM jobs") == 1
    assert len(mails(ledger)) == len(ids)


async def test_jobs_that_outlast_the_grace_go_back_uncounted(ledger: Ledger, workers: Workers) -> None:
    """SIGTERM with a mail and a report that do not end: both workers end in time, and neither attempt counts."""
    worker, celery = await workers.get("worker", "celery")
    mail = await ledger.mail()
    async with ledger.held("doctors"):
        jobs = await ledger.send(mail, ledger.report())
        for job_id in jobs:
            await ledger.reached(job_id, "running")
        children = celery.children()
        celery.signal(signal.SIGTERM)
        worker.signal(signal.SIGTERM)
        assert [await one.ended(seconds=10) for one in (worker, celery)] == [0, 0]
        for child in children:
            await gone(child)
        assert [((row := await ledger.job(job_id)).status, row.attempt) for job_id in jobs] == [("queued", 0)] * 2


async def test_both_workers_stop_while_redis_is_away(
    ledger: Ledger, workers: Workers, own_valkey: ValkeyEngine
) -> None:
    """SIGTERM ends both workers with exit code 0 though Redis hangs, and though it is gone."""
    worker, celery = await workers.get("worker", "celery")
    assert own_valkey.pid is not None
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        await worker.logged("Redis is away; waiting")
        assert await worker.stopped() == 0
    finally:
        os.kill(own_valkey.pid, signal.SIGKILL)
    await celery.logged("consumer: Connection to broker lost. Trying to re-establish the connection...")
    assert await celery.stopped() == 0
    assert not [line for line in worker.lines() + celery.lines() if "never retrieved" in line["event"]]


async def test_a_worker_stops_as_soon_as_it_has_started(workers: Workers, ledger: Ledger) -> None:
    """SIGTERM right after the start, while connections are being made, is followed by a clean end."""
    worker = await workers.spawn("worker").ready()
    await ledger.send(await ledger.mail())
    assert await worker.stopped() == 0
    assert complaints(worker) == []
    assert worker.lines()[-1]["event"] == "stopped"
