"""The arithmetic of the benchmark."""

import pytest

from benchmarks.stats import Sample, merged, middle, percentile


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """The nearest rank: the smallest value that the given share of all values does not exceed."""
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (0, 50, 99, 99.5, 100)] == [1, 50, 99, 100, 100]
    assert percentile([7.0], 99) == 7
    assert percentile([1.0, 2.0, 3.0], 50) == 2


def test_nothing_measured_has_no_percentile() -> None:
    """An empty window is an error, not a zero that would look fast."""
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_the_middle_round_counts() -> None:
    """Of three rounds the median of each figure is taken, so that one disturbed round decides nothing."""
    rounds = [Sample(rate, [latency, latency * 2]) for rate, latency in ((100, 0.1), (5, 9.0), (120, 0.2))]
    assert middle(rounds, lambda sample: sample.rate) == 100
    assert middle(rounds, lambda sample: sample.p50) == 0.2
    assert max(sample.slowest for sample in rounds) == 18


def test_turns_count_as_one_window() -> None:
    """Windows of one length merge into one: the mean of their rates, all of their latencies."""
    whole = merged([Sample(100, [0.1, 0.2]), Sample(200, [0.3])])
    assert (whole.rate, sorted(whole.latencies), whole.slowest) == (150, [0.1, 0.2, 0.3], 0.3)
