"""Impossible options are refused by name."""

from typing import Any

import pytest

from stagewhisper.decoding import DecodingOptions
from stagewhisper.errors import OptionError


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"task": "summarise"}, "task"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"beam_size": 0}, "beam_size"),
        ({"best_of": 0, "temperature": 1.0}, "best_of"),
        ({"sample_len": 0}, "sample_len"),
        ({"best_of": 5}, "best_of"),
        ({"beam_size": 100_000}, "beam_size"),
        ({"beam_size": 5, "best_of": 5, "temperature": 1.0}, "beam_size"),
        ({"beam_size": 5, "temperature": 0.5}, "beam_size"),
        ({"patience": 2.0}, "patience"),
        ({"patience": 0.0, "beam_size": 5}, "patience"),
        ({"patience": 0.5, "beam_size": 1}, "patience"),
        ({"length_penalty": 1.5}, "length_penalty"),
        ({"seed": -1}, "seed"),
    ],
)
def test_an_impossible_option_is_refused_by_name(options: dict[str, Any], name: str) -> None:
    with pytest.raises(OptionError, match=name):
        DecodingOptions(**options)
