"""Percentiles and medians over what a run has measured."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of a hundred of `values` do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one kind of request met in one window: answers per second, and seconds from request to answer."""

    rate: float
    latencies: Sequence[float]

    @property
    def p50(self) -> float:
        return percentile(self.latencies, 50)

    @property
    def p99(self) -> float:
        return percentile(self.latencies, 99)

    @property
    def slowest(self) -> float:
        return max(self.latencies)


def merged(samples: Sequence[Sample]) -> Sample:
    """Windows of one length, taken in turns with others, as one."""
    latencies = [latency for sample in samples for latency in sample.latencies]
    return Sample(sum(sample.rate for sample in samples) / len(samples), latencies)


def middle(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """The median of one figure over the rounds."""
    return median(of(sample) for sample in samples)
