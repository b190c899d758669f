"""Which requests are traced is known before anything is made for them."""

import pytest
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind

from app.config import TelemetrySettings
from app.core.tracing import RootsOfWork, traces

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"


def chosen(ratio: float, traceparent: bytes | None = None, *, endpoint: str = "http://collector:4318") -> bool:
    headers = [] if traceparent is None else [(b"traceparent", traceparent)]
    return traces({"headers": headers}, TelemetrySettings(endpoint=endpoint, sample_ratio=ratio))


@pytest.mark.parametrize(("flags", "wanted"), [(b"01", True), (b"03", True), (b"00", False), (b"02", False)])
def test_a_caller_s_own_choice_is_followed(flags: bytes, wanted: bool) -> None:
    """By the flag of its traceparent, whatever our own ratio is."""
    assert chosen(0, TRACE + flags) is wanted
    assert chosen(1, TRACE + flags) is wanted


@pytest.mark.parametrize(
    "garbage", [b"", b"00", TRACE, TRACE + b"zz", TRACE.upper() + b"01", TRACE + b"01-more", b"\xff" * 55]
)
def test_a_caller_that_says_nothing_of_use_is_chosen_by_chance(garbage: bytes) -> None:
    """What is no traceparent counts as none."""
    assert chosen(1, garbage)
    assert not chosen(0, garbage)


def test_chance_keeps_the_ratio() -> None:
    """Of two thousand requests at 0.25 about five hundred are traced."""
    assert 350 < sum(chosen(0.25) for _ in range(2000)) < 650


def test_without_a_collector_nothing_is_traced() -> None:
    """Not even what a caller has sampled: there is nowhere to send it."""
    assert not chosen(1, TRACE + b"01", endpoint="")


def test_a_request_is_not_drawn_twice() -> None:
    """What came through the choice is sampled; other work begins by the ratio, a statement of nobody's never."""
    sampler = RootsOfWork(0)
    decisions = {
        kind: sampler.should_sample(None, 1, "work", kind).decision
        for kind in (SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.CLIENT)
    }
    assert decisions == {
        SpanKind.SERVER: Decision.RECORD_AND_SAMPLE,
        SpanKind.CONSUMER: Decision.DROP,
        SpanKind.CLIENT: Decision.DROP,
    }
