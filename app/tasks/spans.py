"""How a job shows in a trace: the relay's hand-over and each attempt are spans of the trace that caused the job."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from opentelemetry.trace import SpanKind

from app.core.database import AnyRow
from app.core.spans import fail_span, is_sampled, keep_failure, work_span


@contextmanager
def publishing_spans(batch: Sequence[AnyRow]) -> Iterator[None]:
    """One span for the batch, linked to the causes of its jobs, and one in the trace of each: as long as it took."""
    traced = [row for row in batch if is_sampled(row.traceparent)]
    if not traced:
        yield
        return
    with ExitStack() as stack:
        batch_attributes = {"messaging.batch.message_count": len(batch)}
        stack.enter_context(
            work_span(
                "relay publish",
                kind=SpanKind.INTERNAL,
                links=[row.traceparent for row in traced],
                attributes=batch_attributes,
            )
        )
        for row in traced:
            stack.enter_context(
                work_span(
                    f"publish {row.name}",
                    kind=SpanKind.PRODUCER,
                    traceparent=row.traceparent,
                    attributes={**_attributes(row), "messaging.destination.name": row.queue.value},
                )
            )
        yield


def attempt_span(job: AnyRow) -> AbstractContextManager[str | None]:
    """The span of one attempt; a retry is linked to the attempt before."""
    return work_span(
        f"job {job.name}",
        kind=SpanKind.CONSUMER,
        traceparent=job.traceparent,
        links=[job.attempt_traceparent],
        attributes={**_attributes(job), "frontdesk.job.attempt": job.attempt},
    )


def failed_attempt(job: AnyRow, error: Exception, *, started_ns: int) -> None:
    """Mark the attempt's span, or record one if its trace was not sampled."""
    reason = type(error).__name__
    fail_span(reason)
    keep_failure(
        f"job {job.name}",
        kind=SpanKind.CONSUMER,
        traceparent=job.traceparent,
        started_ns=started_ns,
        reason=reason,
        attributes={**_attributes(job), "frontdesk.job.attempt": job.attempt},
    )


def _attributes(job: AnyRow) -> dict[str, str | int]:
    return {"frontdesk.job.id": job.id, "frontdesk.job.name": job.name}
