"""The best continuations of one beam."""

import numpy as np
import pytest

from stagewhisper.decoding.beam_search import STRETCH, top


@pytest.mark.parametrize("length", [7, STRETCH, 3 * STRETCH + 5, 51_865])
def test_the_largest_come_first_and_the_lower_index_among_equals(length: int) -> None:
    random = np.random.default_rng(length)
    for _ in range(20):
        row = random.integers(-9, 9, length).astype(np.float32)
        row[random.random(length) < 0.7] = -np.inf
        expected = np.argsort(-row, kind="stable")[:6].tolist()
        assert top(row, 6) == expected


def test_what_is_no_number_is_worse_than_any() -> None:
    row = np.zeros(5 * STRETCH, np.float32)
    row[:: STRETCH // 2] = np.nan
    row[[3, 700]] = 2, 1
    assert top(row, 4) == [3, 700, 1, 2]
    assert sorted(top(np.full(5 * STRETCH, np.nan, np.float32), 3)) == [0, 1, 2]
