import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagewhisper.cli.temperatures import fallback_temperatures
from stagewhisper.errors import OptionError


@settings(max_examples=500, deadline=None)
@given(
    temperature=st.one_of(st.integers(0, 100).map(lambda n: n / 100), st.floats(0, 1)),
    increment=st.one_of(st.integers(1, 200).map(lambda n: n / 100), st.floats(0.01, 3)),
)
def test_temperatures_are_to_the_bit_those_of_numpys_arange(temperature, increment):
    expected = tuple(float(t) for t in np.arange(temperature, 1.0 + 1e-6, increment))
    assert fallback_temperatures(temperature, increment) == expected


def test_the_defaults_give_openai_whispers_six_temperatures():
    assert fallback_temperatures(0.0, 0.2) == (0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0)


def test_without_an_increment_there_is_one_temperature():
    assert fallback_temperatures(0.3, None) == (0.3,)


def test_a_temperature_above_one_is_tried_once():
    assert fallback_temperatures(1.5, 0.2) == (1.5,)


@pytest.mark.parametrize(("temperature", "increment"), [(-0.1, 0.2), (0.0, 0.0), (0.0, -0.2)])
def test_impossible_values_are_refused(temperature, increment):
    with pytest.raises(OptionError, match="has to be"):
        fallback_temperatures(temperature, increment)
