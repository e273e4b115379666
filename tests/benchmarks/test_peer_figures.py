"""What is stored of the comparison with compiled peers follows from the answers of the programs."""

from typing import Any

import pytest
from peer_figures import n_equal, percentile_90, ratios, rows
from peer_rounds import Record
from peer_table import table


def answer(
    whole: float, *, encoder: float = 0.2, step: float = 0.01, tokens: list[int] | None = None
) -> dict[str, Any]:
    return {"whole": whole, "encoder": encoder, "step": step, "tokens": [tokens or [1, 2, 3]]}


def start(seconds: float, peak: int) -> dict[str, Any]:
    return {"start": seconds, "loaded": 0.1, "first": 1.0, "peak_bytes": peak, "versions": {}}


OURS = Record(
    starts=[start(0.5, 100), start(0.7, 120), start(0.6, 110)],
    rounds={"window": [answer(1.0), answer(3.0), answer(2.0)], "batch 8": [answer(4.0, step=0.02)]},
)
THEIRS = Record(
    starts=[start(2.0, 240)],
    rounds={"window": [answer(6.0, tokens=[1, 2, 4])]},
    refusals={"batch 8": "it takes one window at a time"},
)


def test_a_row_has_the_median_of_all_rounds_and_the_highest_memory_of_all_starts() -> None:
    row = rows({"ours, int8": OURS}, {"ours, int8": 50})["ours, int8"]
    assert row["seconds"]["window"] == 2.0
    assert row["seconds"]["start"] == 0.6
    assert row["seconds"]["step, batch 8"] == 0.02
    assert row["windows per second, batch 8"] == 2.0
    assert row["peak bytes"] == 120


def test_ratios_say_how_many_times_as_much_others_take() -> None:
    found = rows({"ours, int8": OURS, "other": THEIRS}, {"ours, int8": 50, "other": 200})
    gained = found["other"]["ours int8 is faster by"]
    assert gained["window"] == 3.0
    assert gained["bytes on disk"] == 4.0
    assert "8 windows" not in gained  # it has none
    assert set(found["ours, int8"]["ours int8 is faster by"].values()) == {1.0}


def test_tokens_are_compared_up_to_the_first_that_differs() -> None:
    assert n_equal([1, 2, 4, 3], [1, 2, 3, 3]) == 2
    assert n_equal([1, 2], [1, 2, 3]) == 2
    assert n_equal([], [1]) == 0


def test_the_ninetieth_percentile_lies_between_neighbours() -> None:
    assert percentile_90([5.0]) == 5.0
    assert percentile_90(range(11)) == 9.0
    assert percentile_90([0.0, 1.0]) == pytest.approx(0.9)


def test_ratios_leave_out_what_one_side_lacks() -> None:
    ours = {"seconds": {"window": 1.0, "start": 2.0}, "peak bytes": None, "bytes on disk": 10}
    theirs = {"seconds": {"window": 3.0}, "peak bytes": 5, "bytes on disk": 20}
    assert ratios(theirs, ours) == {"window": 3.0, "bytes on disk": 2.0}


def test_the_table_tells_why_something_is_missing() -> None:
    printed = table(rows({"ours, int8": OURS, "other": THEIRS}, {"ours, int8": 50, "other": 200}))
    assert "other, batch 8: it takes one window at a time" in printed
    line = next(line for line in printed.splitlines() if line.startswith("other "))
    assert "6.000" in line
    assert "–" in line


def test_tokens_that_are_not_told_are_not_compared() -> None:
    silent = Record(rounds={"window": [answer(1.0, tokens=[-1, -1])]})
    found = rows({"openai-whisper": OURS, "silent": silent}, {"openai-whisper": 50, "silent": 50})
    assert found["silent"]["same tokens as the reference"] is None
    assert found["openai-whisper"]["same tokens as the reference"] == 3
