"""The histogram of durations: bounded error, exact edges."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from amqpd.cli.load.histogram import Histogram, upper_edge

DURATIONS = st.integers(min_value=0, max_value=(1 << 62) - 1)


def recorded(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value, 1)
    return histogram


@given(DURATIONS)
def test_percentile_of_one_value_is_that_value(value: int) -> None:
    histogram = recorded([value])
    assert histogram.percentile(0.5) == value
    assert histogram.value_min == histogram.value_max == value


@given(st.lists(DURATIONS, min_size=1, max_size=50), st.floats(min_value=0.01, max_value=1.0))
def test_percentile_is_at_most_a_bucket_above_the_exact_one(values: list[int], fraction: float) -> None:
    ordered = sorted(values)
    rank = max(1, int(fraction * len(values) + 0.999999))
    exact = ordered[rank - 1]
    found = recorded(values).percentile(fraction)
    assert exact <= found <= exact + exact // 128 + 1


@given(st.lists(DURATIONS, max_size=30), st.lists(DURATIONS, max_size=30))
def test_sum_of_two_histograms_is_the_histogram_of_both(left: list[int], right: list[int]) -> None:
    total, both = recorded(left), recorded(left + right)
    total.add(recorded(right))
    assert total.count == both.count
    assert (total.value_min, total.value_max, total.value_sum) == (both.value_min, both.value_max, both.value_sum)
    for fraction in (0.1, 0.5, 0.99, 1.0):
        assert total.percentile(fraction) == both.percentile(fraction)


def test_bucket_edges_grow_without_gaps() -> None:
    edges = [upper_edge(index) for index in range(2000)]
    assert edges[:130] == list(range(130))
    assert all(0 < after - before <= max(1, after / 128) for before, after in itertools.pairwise(edges))
    for index, edge in enumerate(edges[:-1]):
        # The edge is the last value of its bucket: itself recorded it is found, the next value is another bucket's.
        histogram = recorded([edge, edge + 1])
        assert histogram.percentile(0.5) == edge, index


def test_run_of_equal_values_counts_as_often_as_it_is_long() -> None:
    histogram = Histogram()
    histogram.record(10, 99)
    histogram.record(1000, 1)
    assert histogram.count == 100
    assert histogram.percentile(0.99) == 10
    assert histogram.percentile(1.0) == 1000
    assert math.isclose(histogram.mean(), (99 * 10 + 1000) / 100)


def test_negative_duration_counts_as_zero() -> None:
    histogram = recorded([-5])
    assert (histogram.count, histogram.value_min, histogram.value_max) == (1, 0, 0)


def test_empty_histogram_has_zeros_only() -> None:
    histogram = Histogram()
    assert histogram.percentile(0.5) == histogram.mean() == histogram.value_max == 0
    histogram.record(5, 1)
    histogram.clear()
    assert (histogram.count, histogram.percentile(1.0)) == (0, 0)
