"""Latencies in buckets that grow with them, as HdrHistogram has: small, exact to half a percent, and to be added up."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

# A bucket is 1/128 as wide as the power of two that it lies in: its middle is off by 0.4 % at the most.
_BUCKETS_PER_OCTAVE = 128
# From 2⁻²⁰ s, a microsecond, to 2¹² s, an hour; what lies beyond falls into the outermost bucket.
_LOWEST_EXPONENT, _OCTAVES = -20, 32
_SIZE = _OCTAVES * _BUCKETS_PER_OCTAVE
# What waits to be sorted into buckets: numpy takes many at once for the price of few.
_MOST_PENDING = 8192


class LatencyHistogram:
    """Counts latencies, in seconds. The smallest, the largest and the sum are exact."""

    def __init__(self, latencies: Iterable[float] = ()) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(_SIZE, np.int64)
        self._pending = array("d")
        self._lowest, self._highest, self._sum = math.inf, 0.0, 0.0
        for seconds in latencies:
            self.record(seconds)

    def record(self, seconds: float) -> None:
        """Count one latency."""
        self._pending.append(seconds)
        if len(self._pending) >= _MOST_PENDING:
            self._sort_in()

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._sorted().sum())

    @property
    def lowest(self) -> float:
        """The smallest; 0 if there is none."""
        self._sort_in()
        return 0.0 if math.isinf(self._lowest) else self._lowest

    @property
    def highest(self) -> float:
        """The largest; 0 if there is none."""
        self._sort_in()
        return self._highest

    @property
    def mean(self) -> float:
        """The mean; 0 if there is none."""
        count = self.count
        return self._sum / count if count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the nearest-rank percentile; 100 is the largest; 0 if there is none."""
        counts = self._sorted()
        total = int(counts.sum())
        if not total:
            return 0.0
        rank = max(1, math.ceil(total * percent / 100 - 1e-9))
        if rank >= total:
            return self._highest
        index = int(np.searchsorted(np.cumsum(counts), rank))
        return min(max(_middle(index), self._lowest), self._highest)

    def add(self, other: LatencyHistogram) -> None:
        """Add another one's latencies to these."""
        other._sort_in()
        self._counts += other._sorted()
        self._lowest = min(self._lowest, other._lowest)
        self._highest = max(self._highest, other._highest)
        self._sum += other._sum

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON: `counts` are pairs of a bucket's number and what is in it."""
        counts = self._sorted()
        filled = np.flatnonzero(counts)
        return {
            "buckets_per_octave": _BUCKETS_PER_OCTAVE,
            "lowest_exponent": _LOWEST_EXPONENT,
            "lowest": self.lowest,
            "highest": self.highest,
            "sum": self._sum,
            "counts": [[int(index), int(counts[index])] for index in filled],
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> LatencyHistogram:
        """Make one of what `to_json` returned. Raises ValueError if its buckets are other ones."""
        if (saved["buckets_per_octave"], saved["lowest_exponent"]) != (_BUCKETS_PER_OCTAVE, _LOWEST_EXPONENT):
            raise ValueError("a histogram with other buckets")
        made = cls()
        for index, count in saved["counts"]:
            made._counts[index] = count
        if saved["counts"]:
            made._lowest, made._highest, made._sum = saved["lowest"], saved["highest"], saved["sum"]
        return made

    def _sorted(self) -> npt.NDArray[np.int64]:
        self._sort_in()
        return self._counts

    def _sort_in(self) -> None:
        if not self._pending:
            return
        values = np.array(self._pending)
        self._pending = array("d")
        mantissas, exponents = np.frexp(np.maximum(values, 2.0**_LOWEST_EXPONENT))
        within = ((mantissas - 0.5) * (2 * _BUCKETS_PER_OCTAVE)).astype(np.int64)
        # frexp's mantissa is in [0.5, 1): 2⁻²⁰ s has the exponent -19.
        indices = (exponents.astype(np.int64) - 1 - _LOWEST_EXPONENT) * _BUCKETS_PER_OCTAVE + within
        self._counts += np.bincount(np.clip(indices, 0, _SIZE - 1), minlength=_SIZE)
        self._lowest = min(self._lowest, float(values.min()))
        self._highest = max(self._highest, float(values.max()))
        self._sum += float(values.sum())


def _middle(index: int) -> float:
    octave, within = divmod(index, _BUCKETS_PER_OCTAVE)
    return float((1 + (within + 0.5) / _BUCKETS_PER_OCTAVE) * 2.0 ** (octave + _LOWEST_EXPONENT))
