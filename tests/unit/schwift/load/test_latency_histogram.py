from __future__ import annotations

import json

import numpy as np
import pytest

from schwift.load.latency_histogram import LatencyHistogram

PERCENTS = (0.1, 10, 50, 90, 99, 99.9, 99.99)


@pytest.mark.parametrize("spread", ["lognormal", "uniform", "two"])
def test_percentiles_are_numpys_within_half_a_percent(spread: str) -> None:
    made = np.random.default_rng(7)
    values = {
        "lognormal": made.lognormal(-6, 1.5, 100_000),
        "uniform": made.uniform(1e-6, 10, 100_000),
        "two": np.concatenate([np.full(99_500, 0.001), np.full(500, 1.0)]),
    }[spread]
    histogram = LatencyHistogram(values)
    assert histogram.count == len(values)
    for percent in PERCENTS:
        # 100,000 values: a hundredth of a percent is ten ranks.
        exact = np.sort(values)[round(percent * 1000) - 1]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.005)
    assert histogram.percentile(100) == histogram.highest == values.max()
    assert histogram.lowest == values.min()
    assert histogram.mean == pytest.approx(values.mean())


def test_one_value_is_every_percentile() -> None:
    histogram = LatencyHistogram([0.0123])
    assert [histogram.percentile(percent) for percent in (0, 50, 100)] == [0.0123] * 3


def test_of_nothing_all_is_0() -> None:
    histogram = LatencyHistogram()
    assert (histogram.count, histogram.percentile(99), histogram.lowest, histogram.highest, histogram.mean) == (
        0, 0.0, 0.0, 0.0, 0.0,
    )  # fmt: skip


def test_what_lies_beyond_the_buckets_counts_and_keeps_its_extremes() -> None:
    histogram = LatencyHistogram([0.0, 1e-9, 1e5])
    assert histogram.count == 3
    assert histogram.percentile(1) < 2e-6
    assert histogram.percentile(100) == 1e5


def test_no_time_at_all_is_the_shortest() -> None:
    assert LatencyHistogram([0.0, 0.0, 1.0]).percentile(50) < 2e-6


def test_halves_added_up_and_a_copy_in_json_are_the_whole() -> None:
    values = np.random.default_rng(1).lognormal(-5, 1, 20_001)
    whole, half = LatencyHistogram(values), LatencyHistogram(values[::2])
    half.add(LatencyHistogram(values[1::2]))
    copy = LatencyHistogram.from_json(json.loads(json.dumps(whole.to_json())))
    for other in (half, copy):
        assert other.count == whole.count
        assert [other.percentile(p) for p in (*PERCENTS, 100)] == [whole.percentile(p) for p in (*PERCENTS, 100)]
        assert other.mean == pytest.approx(whole.mean)
    with pytest.raises(ValueError, match="other buckets"):
        LatencyHistogram.from_json({**whole.to_json(), "buckets_per_octave": 64})
