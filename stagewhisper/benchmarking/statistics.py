"""Numbers with their spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

_N_DRAWS, _LEVEL, _SEED = 2000, 0.95, 0


@dataclass(frozen=True)
class Ratio:
    """How many times one time is another, with a 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_above_one(self) -> bool:
        """Whether the whole interval is."""
        return self.low > 1.0

    @property
    def is_below_one(self) -> bool:
        """Whether the whole interval is."""
        return self.high < 1.0


def ratio(above: Sequence[float], below: Sequence[float], *, paired: bool) -> Ratio:
    """The median of `above` over that of `below`; the interval is the bootstrap's.

    `paired`: run i of both was made in the same round, and is drawn for both or for neither; so what troubles a round
    troubles the ratio less.
    """
    a, b = np.array(above, np.float64), np.array(below, np.float64)
    rng = np.random.default_rng(_SEED)
    places = rng.integers(len(a), size=(_N_DRAWS, len(a)))
    others = places if paired and len(a) == len(b) else rng.integers(len(b), size=(_N_DRAWS, len(b)))
    drawn = np.median(a[places], axis=1) / np.median(b[others], axis=1)
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Ratio(median(above) / median(below), float(low), float(high))


def p90(values: Sequence[float]) -> float:
    """The 90th percentile, between two values where it falls between them."""
    return float(np.quantile(np.array(values, np.float64), 0.9))
