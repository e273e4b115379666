import pytest

from stagewhisper.benchmarking.compile_time import covered
from stagewhisper.benchmarking.statistics import p90, ratio
from tests.benchmarking.made_up import result


def test_nested_and_overlapping_spans_are_counted_once():
    assert covered([(0, 2), (1, 3), (0.5, 1), (5, 6)]) == 4
    assert covered([]) == 0


def test_a_ratio_is_that_of_the_medians_within_its_interval():
    found = ratio([2.0, 2.2, 1.8, 2.1, 1.9], [1.0, 1.1, 0.9, 1.05, 0.95], paired=False)
    assert found.value == 2.0
    assert 1.6 < found.low < 2.0 < found.high < 2.5
    assert (found.is_above_one, found.is_below_one) == (True, False)


def test_pairs_cancel_what_troubles_a_whole_round():
    slow_machine = [1.0, 3.0, 1.0, 2.0, 4.0]
    one, other = [2 * seconds for seconds in slow_machine], slow_machine
    paired, apart = ratio(one, other, paired=True), ratio(one, other, paired=False)
    assert (paired.low, paired.value, paired.high) == (2.0, 2.0, 2.0)
    assert apart.low < 1 < apart.high


def test_rtf_and_tokens_per_second_follow_from_the_median():
    measured = result("jax", (2.0, 4.0, 1.0))
    assert (measured.median, measured.rtf, measured.tokens_per_second) == (2.0, 0.2, 10.0)
    assert measured.p90 == pytest.approx(p90([1.0, 2.0, 4.0])) == pytest.approx(3.6)
