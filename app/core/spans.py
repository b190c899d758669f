"""Spans of our own, and the `traceparent` (W3C Trace Context) by which one piece of work goes on in another process."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import attach, detach, set_value
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

Attributes = Mapping[str, str | int | float | bool]
_tracer = trace.get_tracer("frontdesk")
# OpenTelemetry's word in a context, for which every instrumented library looks first.
_SUPPRESSED = "suppress_instrumentation"


def new_traceparent() -> str:
    """Of a trace that nobody records: it still joins the log lines of a request with those of its jobs."""
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-00"


def current_traceparent() -> str | None:
    """That of the span this code runs in; None outside of any."""
    return _traceparent(trace.get_current_span().get_span_context())


def _traceparent(context: SpanContext) -> str | None:
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _remote(traceparent: str | None, *, sampled: bool = False) -> SpanContext | None:
    if traceparent is None:
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    kept = TraceFlags(TraceFlags.SAMPLED if sampled else int(flags, 16))
    context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=kept)
    return context if context.is_valid else None


def is_sampled(traceparent: str | None) -> bool:
    return traceparent is not None and int(traceparent[-2:], 16) & TraceFlags.SAMPLED == TraceFlags.SAMPLED


def links_to(traceparents: Sequence[str | None]) -> list[Link]:
    """Links to the sampled ones of these spans."""
    contexts = [_remote(one) for one in dict.fromkeys(traceparents) if is_sampled(one)]
    return [Link(context) for context in contexts if context is not None]


@contextmanager
def unrecorded(*, suppressed: bool = True) -> Iterator[None]:
    """For work that is not traced: what it asks of the engines and of others makes no spans that nobody would record.

    Such a span takes 18 µs a statement, the longer the statement, and gives a request to another service a trace id
    that stands in no line of our log.
    """
    token = attach(set_value(_SUPPRESSED, suppressed))
    try:
        yield
    finally:
        detach(token)


@contextmanager
def work_span(
    name: str,
    *,
    kind: SpanKind,
    traceparent: str | None = None,
    links: Sequence[str | None] = (),
    attributes: Attributes | None = None,
) -> Iterator[str | None]:
    """A span around the block, in the trace of `traceparent`; gives its own traceparent, None while nothing traces."""
    parent = _remote(traceparent)
    context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
    with (
        _tracer.start_as_current_span(
            name, context, kind=kind, attributes=dict(attributes or {}), links=links_to(links)
        ) as span,
        unrecorded(suppressed=not span.is_recording()),
    ):
        own = span.get_span_context()
        # Without a provider the parent's own context comes back: nothing new to name.
        yield _traceparent(own) if own != parent else None


def keep_failure(
    name: str, *, kind: SpanKind, traceparent: str | None, started_ns: int, reason: str, attributes: Attributes
) -> None:
    """Record one span for a failure whose trace was not sampled, so that errors are always found by their trace id."""
    parent = _remote(traceparent, sampled=True)
    if parent is None or is_sampled(traceparent):
        return
    span = _tracer.start_span(
        name,
        trace.set_span_in_context(NonRecordingSpan(parent)),
        kind=kind,
        attributes=dict(attributes),
        start_time=started_ns,
    )
    span.set_status(Status(StatusCode.ERROR, reason))
    span.end()


def fail_span(reason: str) -> None:
    """Mark the span this code runs in as failed."""
    trace.get_current_span().set_status(Status(StatusCode.ERROR, reason))
