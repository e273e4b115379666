import pytest

from stagewhisper.checkpoint import ModelDims
from stagewhisper.errors import CheckpointError
from tests.checkpoints import random_dims


def test_the_numbers_survive_a_round_trip_through_a_dict():
    dims = random_dims(n_vocab=51_866)
    assert ModelDims.from_dict(dims.to_dict()) == dims


@pytest.mark.parametrize(("n_vocab", "expected"), [(51_864, False), (51_865, True), (51_866, True), (60_000, True)])
def test_only_vocabularies_above_the_english_one_are_multilingual(n_vocab, expected):
    assert random_dims(n_vocab=n_vocab).is_multilingual is expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mels": 0}, "n_mels is 0"),
        ({"n_text_layer": -1}, "n_text_layer is -1"),
        ({"n_vocab": 2**40}, "n_vocab is 1099511627776"),
        ({"n_audio_head": 3}, "heads to divide the state"),
        ({"n_text_head": 5}, "heads to divide the state"),
        ({"n_audio_state": 128}, "expected them equal"),
        ({"n_audio_state": 9, "n_text_state": 9, "n_audio_head": 3, "n_text_head": 3}, "even number"),
    ],
)
def test_impossible_numbers_are_refused_by_name(changes, message):
    with pytest.raises(CheckpointError, match=message):
        random_dims(**changes)


@pytest.mark.parametrize("value", [80.0, "80", True, None, [80]])
def test_a_number_that_is_no_integer_is_refused(value):
    with pytest.raises(CheckpointError, match=r"n_mels is .* expected a whole number"):
        ModelDims.from_dict(random_dims().to_dict() | {"n_mels": value})


def test_a_missing_and_an_unknown_number_are_named():
    numbers = random_dims().to_dict()
    with pytest.raises(CheckpointError, match="'n_speakers'"):
        ModelDims.from_dict(numbers | {"n_speakers": 2})
    del numbers["n_text_ctx"]
    with pytest.raises(CheckpointError, match="lack n_text_ctx"):
        ModelDims.from_dict(numbers)
