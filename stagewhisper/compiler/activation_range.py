"""Which range of an activation its 8 bits should cover, from how often each of its values was seen. Pure arithmetic.

    minmax       all that was seen
    percentile   all but the rarest: outliers are clipped, and the others get finer steps
    entropy      the range whose 256 levels keep the histogram's shape best (least Kullback-Leibler divergence)

Source of entropy: S. Migacz, 8-bit inference with TensorRT, GTC 2017; here with a range that need not be symmetric.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int64

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[str, ...] = get_args(Method)

N_BINS = 4096
N_LEVELS = 256

SHARES = np.geomspace(0.02, 1, 60)
"""What part of the largest number that was seen is tried as the end of the range."""


@dataclass(frozen=True)
class Range:
    """The numbers between which activations are told apart."""

    low: float
    high: float

    def scale_and_zero_point(self) -> tuple[np.float32, np.uint8]:
        """uint8 = round(x / scale) + zero point; zero itself is always exact."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = np.float32((high - low) / (N_LEVELS - 1) or 1.0)
        return scale, np.uint8(np.clip(np.rint(-low / scale), 0, N_LEVELS - 1))


class Histogram:
    """Counts of an activation's values in equal bins over [−reach, reach]; the reach doubles when values exceed it."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self._reach = 0.0
        self._counts: Int64[np.ndarray, " n_bins"] = np.zeros(N_BINS, np.int64)

    def add(self, values: Float32[np.ndarray, "..."]) -> None:
        """Count these values."""
        if not values.size:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        largest = max(-self.low, self.high)
        if self._reach == 0:
            self._reach = largest
        while self._reach < largest:
            self._double()
        if self._reach > 0:
            self._counts += np.histogram(values, N_BINS, (-self._reach, self._reach))[0]

    def range(self, method: Method, *, percentile: float = 99.99) -> Range:
        """The range to be covered; `percentile` is the share of values inside it, in hundredths, for that method.

        An activation that was zero throughout, or never seen, has the range [0, 0].
        """
        if self._reach == 0:
            return Range(0.0, 0.0)
        if method == "percentile":
            return self._percentile(percentile)
        return self._least_divergence() if method == "entropy" else Range(self.low, self.high)

    def _percentile(self, percentile: float) -> Range:
        outside = (1 - percentile / 100) / 2
        cumulated = np.cumsum(self._counts) / self._counts.sum()
        first = int(np.searchsorted(cumulated, outside, side="right"))
        last = int(np.searchsorted(cumulated, 1 - outside))
        edges = self._edges()
        return Range(max(self.low, edges[first]), min(self.high, edges[min(last, N_BINS - 1) + 1]))

    def _least_divergence(self) -> Range:
        ends = SHARES * max(-self.low, self.high)
        return min((Range(max(self.low, -end), min(self.high, end)) for end in ends), key=self._divergence)

    def _divergence(self, covered: Range) -> float:
        """Of the histogram with 256 levels from the one with all bins; what is clipped counts at the range's ends."""
        centers = (self._edges()[:-1] + self._edges()[1:]) / 2
        clipped = np.clip(centers, covered.low, covered.high)
        scale, zero = covered.scale_and_zero_point()
        inside = (centers >= covered.low) & (centers <= covered.high)
        if not inside.any():
            return float("inf")
        bins = np.flatnonzero(inside)
        nearest = np.clip(np.searchsorted(centers[bins], clipped), 0, len(bins) - 1)
        seen = np.bincount(nearest, weights=self._counts, minlength=len(bins))
        levels = np.clip(np.rint(centers[bins] / scale) + zero, 0, N_LEVELS - 1).astype(int)
        kept = self._counts[bins]  # what the levels can show: the inside only
        total = np.bincount(levels, weights=kept, minlength=N_LEVELS)
        used = np.bincount(levels, weights=kept > 0, minlength=N_LEVELS)
        shown = np.where(kept > 0, (total / np.maximum(used, 1))[levels], 0)
        return _divergence(seen, shown)

    def _edges(self) -> Float64[np.ndarray, " n_edges"]:
        return np.linspace(-self._reach, self._reach, N_BINS + 1)

    def _double(self) -> None:
        """Pairs of bins become one each, in the middle half."""
        merged = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.zeros(N_BINS, np.int64)
        self._counts[N_BINS // 4 : 3 * N_BINS // 4] = merged
        self._reach *= 2


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence of counts p from counts q; bins that q lacks cost as if it had a trace there."""
    p, q = p / p.sum(), q / max(q.sum(), 1)
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / np.maximum(q[there], 1e-9))))
