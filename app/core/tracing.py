"""Traces of this process: provider, sampling, export over OTLP/HTTP (decision 10).

Set up once per process, after any fork. Without an endpoint nothing is set up, and every call here does nothing.
"""

import random
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceFlags, TraceState
from opentelemetry.util.types import Attributes
from prometheus_client import Counter
from sqlalchemy import Engine

from app import __version__
from app.config import TelemetrySettings

SPANS = Counter("frontdesk_spans_total", "Sampled spans: ended, exported, failed to export, dropped", ["outcome"])
FLUSH_MILLISECONDS = 3000
TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_provider: TracerProvider | None = None


def traces(scope: Mapping[str, Any], settings: TelemetrySettings) -> bool:
    """Whether this request is to have spans: its caller's own has, or, without a caller's, chance says so.

    Asked before anything is made for the request: a span that is not sampled costs as much as a line of the log.
    """
    if not settings.endpoint:
        return False
    for name, given in scope["headers"]:
        if name == b"traceparent" and TRACEPARENT.fullmatch(given):
            return int(given[-2:], 16) & TraceFlags.SAMPLED == TraceFlags.SAMPLED
    return random.random() < settings.sample_ratio  # noqa: S311 - no secret


class RootsOfWork(Sampler):
    """Samples what begins a piece of work. A statement or call that nobody asked for, as the relay's polls, is none.

    A request was chosen before (`traces`).
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = TraceIdRatioBased(ratio)

    def should_sample(  # noqa: PLR0917 - the library's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if kind is SpanKind.CLIENT:
            return SamplingResult(Decision.DROP, None, trace_state)
        if kind is SpanKind.SERVER:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._ratio.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"RootsOfWork({self._ratio.get_description()})"


class CountingExporter(SpanExporter):
    """Counts what another exporter makes of its spans, so that a collector that is away shows in a graph."""

    def __init__(self, exporter: SpanExporter, queue: "EndedSpans") -> None:
        self._exporter = exporter
        self._queue = queue

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._queue.taken(len(spans))
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            outcome = "exported" if result is SpanExportResult.SUCCESS else "failed"
            SPANS.labels(outcome).inc(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class EndedSpans(SpanProcessor):
    """Counts sampled spans as they end, and those that a full queue drops: the library says so in the log alone."""

    def __init__(self, queue: int) -> None:
        self._ended, self._dropped = SPANS.labels("ended"), SPANS.labels("dropped")
        self._queue, self._waiting = queue, 0
        self._lock = threading.Lock()

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        self._ended.inc()
        with self._lock:
            full = self._waiting >= self._queue
            self._waiting += not full
        if full:
            self._dropped.inc()

    def taken(self, number: int) -> None:
        """So many have left the queue."""
        with self._lock:
            self._waiting = max(0, self._waiting - number)


def start_tracing(settings: TelemetrySettings, *, process: str) -> None:
    """Trace this process from here on, if there is somewhere to send it. Once per process, after its fork."""
    global _provider  # noqa: PLW0603 - one per process, as OpenTelemetry's own global is
    if not settings.endpoint or _provider is not None:
        return
    # 7 MB and their part of the time to start, for those alone who trace.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor  # noqa: PLC0415
    from opentelemetry.instrumentation.redis import RedisInstrumentor  # noqa: PLC0415

    resource = Resource.create(
        {"service.name": "frontdesk", "service.version": __version__, "frontdesk.process": process}
    )
    _provider = TracerProvider(sampler=ParentBased(RootsOfWork(settings.sample_ratio)), resource=resource)
    exporter = OTLPSpanExporter(endpoint=settings.endpoint.rstrip("/") + "/v1/traces", timeout=settings.timeout)
    ended = EndedSpans(settings.queue)
    _provider.add_span_processor(ended)
    _provider.add_span_processor(
        BatchSpanProcessor(
            CountingExporter(exporter, ended),
            max_queue_size=settings.queue,
            schedule_delay_millis=1000,
            export_timeout_millis=settings.timeout * 1000,
        )
    )
    trace.set_tracer_provider(_provider)
    HTTPXClientInstrumentor().instrument(tracer_provider=_provider)
    RedisInstrumentor().instrument(tracer_provider=_provider)


def stop_tracing() -> None:
    """Send what waits, for at most a few seconds; later spans are dropped."""
    if _provider is not None:
        _provider.force_flush(FLUSH_MILLISECONDS)
        _provider.shutdown()


def trace_statements(engine: Engine) -> None:
    """A span for each statement of this engine; values are never in it."""
    if _provider is not None:
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor  # noqa: PLC0415 - as above

        # Its check of versions knows SQLAlchemy up to 2.0, and would have it do nothing.
        SQLAlchemyInstrumentor().instrument(engine=engine, tracer_provider=_provider, skip_dep_check=True)
