"""Ranges of activations: histograms count everything once, and each method covers what it says."""

import numpy as np
import pytest

from stagewhisper.compiler.activation_range import METHODS, N_LEVELS, Histogram, Method, Range


def seen(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part.astype(np.float32))
    return histogram


def normal(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


def rounded(x: np.ndarray, covered: Range) -> np.ndarray:
    scale, zero = covered.scale_and_zero_point()
    return (np.clip(np.rint(x / scale) + zero, 0, N_LEVELS - 1) - zero) * scale


def test_minmax_is_all_that_was_seen() -> None:
    assert seen(np.array([-0.5, 2]), np.array([[3.0]]), np.array([])).range("minmax") == Range(-0.5, 3)


def test_nothing_is_lost_when_the_range_grows() -> None:
    """In one go, or with the range growing by a thousand: the same quantiles, within two bins."""
    parts = [0.01 * normal(10_000), normal(10_000, 1), 10 * normal(10_000, 2)]
    grown = seen(*parts)
    once = seen(np.concatenate(parts))
    for percentile in (60, 90, 99):
        first, second = (histogram.range("percentile", percentile=percentile) for histogram in (grown, once))
        width = 2 * once.high / 1000
        assert first.low == pytest.approx(second.low, abs=width)
        assert first.high == pytest.approx(second.high, abs=width)


def test_a_percentile_leaves_the_rarest_out_on_both_sides() -> None:
    values = np.concatenate([np.linspace(-1, 3, 99_000), np.full(5, 100.0), np.full(5, -100.0)])
    covered = seen(values).range("percentile", percentile=99.9)
    assert covered.low == pytest.approx(-1, abs=0.1)  # a bin is 200 / 4096 wide
    assert covered.high == pytest.approx(3, abs=0.1)
    assert seen(values).range("percentile", percentile=100) == Range(-100, 100)


def test_entropy_clips_a_long_tail_and_keeps_a_short_one() -> None:
    tailed = np.concatenate([normal(200_000), np.linspace(10, 80, 20)])
    covered = seen(tailed).range("entropy")
    assert 3 < covered.high < 40
    uniform = seen(np.random.default_rng(3).uniform(-1, 1, 200_000)).range("entropy")
    assert uniform.low < -0.95
    assert uniform.high > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_rounding_within_the_range_is_off_by_half_a_step(method: Method) -> None:
    values = normal(50_000)
    covered = seen(values).range(method)
    scale, zero = covered.scale_and_zero_point()
    inside = values[(values > covered.low) & (values < covered.high)]
    assert len(inside) > 0.98 * len(values)
    assert np.abs(rounded(inside, covered) - inside).max() < 1.001 * scale  # the zero point is rounded too
    assert rounded(np.zeros(1), covered) == 0
    assert 100 < zero < 156


def test_values_of_one_sign_use_all_levels() -> None:
    scale, zero = Range(1.0, 5.1).scale_and_zero_point()
    assert scale == pytest.approx(0.02)
    assert zero == 0
    assert Range(-5.1, -1.0).scale_and_zero_point()[1] == 255


@pytest.mark.parametrize("method", METHODS)
def test_an_activation_that_is_always_zero_has_a_scale_all_the_same(method: Method) -> None:
    scale, zero = seen(np.zeros(10)).range(method).scale_and_zero_point()
    assert scale == 1
    assert zero == 0
