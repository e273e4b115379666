"""How far an error rate can be trusted: what it would be on other clips of the same kind.

Source: Bisani and Ney, Bootstrap estimates for confidence intervals in ASR performance evaluation, ICASSP 2004.
"""

from collections.abc import Sequence

import numpy as np

from stagewhisper.evaluation.results import EditCounts, ErrorRate

N_DRAWS = 2000
LEVEL = 0.95
_SEED = 0


def error_rates(*measures: Sequence[EditCounts]) -> tuple[ErrorRate, ...]:
    """The rate of each measure over all clips, with its interval: edit counts of clip i stand at place i of each.

    Whole clips are drawn with replacement, as the errors within one depend on each other; all measures are judged on
    the same draws. Equal counts give equal intervals.
    """
    intervals = _intervals(measures)
    return tuple(
        ErrorRate(sum(counts, EditCounts()), interval) for counts, interval in zip(measures, intervals, strict=True)
    )


def _intervals(measures: Sequence[Sequence[EditCounts]]) -> list[tuple[float, float] | None]:
    n_clips = len(measures[0])
    if n_clips < 2:
        return [None] * len(measures)
    columns = [
        [value for counts in clip for value in (counts.n_errors, counts.n_reference)]
        for clip in zip(*measures, strict=True)
    ]
    per_clip = np.array(columns, dtype=np.float64)
    rng = np.random.default_rng(_SEED)
    # How often each clip is drawn, times its counts: never more than one draw's clips in memory.
    totals = np.array(
        [np.bincount(rng.integers(n_clips, size=n_clips), minlength=n_clips) @ per_clip for _ in range(N_DRAWS)]
    )
    return [_percentiles(totals[:, i], totals[:, i + 1]) for i in range(0, totals.shape[1], 2)]


def _percentiles(n_errors: np.ndarray, n_reference: np.ndarray) -> tuple[float, float] | None:
    drawn = n_reference > 0  # a draw of silent clips only has no rate
    if not drawn.any():
        return None
    rates = n_errors[drawn] / n_reference[drawn]
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
