"""Spans that a full queue drops are counted."""

from threading import Event

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import REGISTRY

from app.core.tracing import CountingExporter, EndedSpans


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("frontdesk_spans_total", {"outcome": outcome}) or 0.0


class HungExporter(SpanExporter):
    """A collector that does not answer until it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = Event(), Event()

    def export(self, _: object) -> SpanExportResult:
        self.asked.set()
        assert self.go.wait(10)
        return SpanExportResult.SUCCESS


def test_what_a_full_queue_drops_is_counted_to_the_span() -> None:
    """Of 50 spans behind a collector that hangs with the first, a queue of 8 keeps 8, and 41 are dropped."""
    hung, ended = HungExporter(), EndedSpans(8)
    provider = TracerProvider()
    provider.add_span_processor(ended)
    batches = BatchSpanProcessor(
        CountingExporter(hung, ended), max_queue_size=8, max_export_batch_size=1, schedule_delay_millis=10
    )
    provider.add_span_processor(batches)
    before = {outcome: counted(outcome) for outcome in ("ended", "exported", "dropped")}
    tracer = provider.get_tracer("test")
    tracer.start_span("first").end()
    assert hung.asked.wait(10)
    for _ in range(49):
        tracer.start_span("more").end()
    hung.go.set()
    provider.shutdown()
    assert {outcome: counted(outcome) - before[outcome] for outcome in before} == {
        "ended": 50,
        "exported": 9,
        "dropped": 41,
    }


def test_a_span_that_nobody_samples_is_none() -> None:
    """It neither counts as ended nor takes a place in the queue."""
    ended, before = EndedSpans(8), counted("ended")
    ended.on_end(ReadableSpan("unsampled"))
    assert counted("ended") == before
