"""One trace leads from a request, over every process it goes through, to the last thing it caused."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from deploy.local.engines import ValkeyEngine
from tests.hostile.process import ApiProcess
from tests.processes.collector import Collector, Span
from tests.processes.ledger import Ledger
from tests.processes.process import Process, Spawn
from tests.support import API, clinic_time, eventually, next_weekday

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector().running() as running:
        yield running


@pytest.fixture(scope="module")
async def traced_api(
    spawn: Spawn, own_valkey: ValkeyEngine, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ApiProcess]:
    environment = {"REDIS_URL": own_valkey.url, "TELEMETRY_ENDPOINT": collector.url, "TELEMETRY_SAMPLE_RATIO": "0"}
    process = ApiProcess(tmp_path_factory.mktemp("api"), environment | {"LOG_FORMAT": "json"})
    await process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
async def traced_workers(spawn: Spawn, collector: Collector) -> list[Process]:
    """Both workers, which trace no work but what arrives as traced."""
    environment = {"TELEMETRY_ENDPOINT": collector.url, "TELEMETRY_SAMPLE_RATIO": "0"}
    return [await spawn(name, **environment).ready() for name in ("worker", "celery")]


def one(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


async def test_a_collector_that_is_away_slows_nothing_and_is_counted(spawn: Spawn, ledger: Ledger) -> None:
    """With nobody at the endpoint a traced job is done all the same, and the spans count as failed."""
    environment = {"TELEMETRY_ENDPOINT": "http://127.0.0.1:9", "TELEMETRY_TIMEOUT": "0.5"}
    worker = await spawn("worker", **environment, TELEMETRY_SAMPLE_RATIO="1").ready()
    (job_id,) = await ledger.send(await ledger.mail())
    await ledger.reached(job_id, "succeeded")

    async def counted() -> bool:
        metrics = (await worker.get("/metrics")).text
        return any(
            line.startswith('frontdesk_spans_total{outcome="failed"}') and float(line.split()[-1]) > 0
            for line in metrics.splitlines()
        )

    await eventually(counted)
    assert await worker.stopped() == 0


async def test_one_trace_leads_from_a_request_through_three_processes(
    traced_api: ApiProcess, traced_workers: list[Process], ledger: Ledger, collector: Collector
) -> None:
    """A booking's mail and a report are spans under the requests that caused them, statements and hand-over included,
    and every log line of them names the trace."""
    patient, admin, doctor = await ledger.world.person(), await ledger.world.admin(), await ledger.world.doctor()
    day = datetime.now(UTC).date()
    report = {"kind": "utilisation", "from": str(day), "to": str(day + timedelta(days=2)), "format": "csv"}
    booking = {
        "doctor_id": doctor,
        "starts_at": clinic_time(ledger.world.container, next_weekday(), "10:00"),
        "reason": "check-up",
    }
    async with httpx.AsyncClient(base_url=traced_api.url + API, timeout=20) as client:
        for path, body, person in (("/appointments", booking, patient), ("/reports", report, admin)):
            answer = await client.post(path, json=body, headers=person.headers | SAMPLED)
            assert answer.status_code in {201, 202}, answer.text

    async def complete() -> bool:
        # Each process exports by itself: what came first may arrive last.
        jobs = {f"{step} {job}" for job in ("mail.appointment", "report.utilisation") for step in ("publish", "job")}
        names = {span.name for span in collector.of(TRACE)}
        return jobs | {"POST /api/v1/appointments", "POST /api/v1/reports"} <= names

    await eventually(complete)
    spans = collector.of(TRACE)
    for request, job, engine in (
        ("POST /api/v1/appointments", "mail.appointment", "worker"),
        ("POST /api/v1/reports", "report.utilisation", "celery"),
    ):
        asked, published, done = one(spans, request), one(spans, f"publish {job}"), one(spans, f"job {job}")
        assert (asked.process, published.process, done.process) == ("api", "worker", engine)
        assert published.parent_id == done.parent_id == asked.span_id
        assert any(span.parent_id == done.span_id and span.process == engine for span in spans), "its statements"
    batches = [span for span in collector.spans if span.name == "relay publish"]
    assert batches == [], "a batch begins no trace of its own unless it is sampled"
    (worker, _) = traced_workers
    assert (await worker.logged("job", job="mail.appointment"))["trace_id"] == TRACE


async def test_a_failure_is_kept_though_its_trace_was_not_sampled(
    traced_workers: list[Process], ledger: Ledger, collector: Collector
) -> None:
    """An attempt that fails leaves one failed span under the trace id that its log lines name."""
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    await ledger.world.execute(
        "INSERT INTO jobs (name, queue, payload, max_attempts, traceparent)"
        " VALUES ('report.utilisation', 'cpu', '{}', 1, :given)",
        given=f"00-{trace_id}-b7ad6b7169203331-00",
    )

    async def kept() -> list[Span]:
        return collector.of(trace_id)

    (span,) = await eventually(kept, seconds=25)
    assert (span.name, span.failed, span.parent_id) == ("job report.utilisation", True, "b7ad6b7169203331")
