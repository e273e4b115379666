"""Options are sorted by who reads them; unknown, impossible and ill-typed ones are refused before any work."""

from typing import Any

import numpy as np
import pytest

from stagewhisper.decoding import DecodingOptions, Thresholds
from stagewhisper.errors import OptionError
from stagewhisper.transcription import TranscribeOptions, transcription_options
from stagewhisper.transcription.options import parse_clip_timestamps, parse_temperatures
from stagewhisper.transcription.sequential import clips


def checked(**options: Any) -> Any:
    return transcription_options(options)  # type: ignore[arg-type]


def test_the_defaults_are_openai_whispers() -> None:
    found = checked()
    assert [attempt.temperature for attempt in found.attempts] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert found.thresholds == Thresholds(2.4, -1.0, 0.6)
    assert found.condition_on_previous_text
    assert found.initial_prompt is None
    assert not found.carry_initial_prompt
    assert found.clip_timestamps == (0.0,)
    assert found.language is None


def test_every_option_has_a_default_that_may_be_given() -> None:
    defaults = {name: getattr(DecodingOptions(), name) for name in ("task", "language", "best_of", "prefix", "seed")}
    assert checked(**defaults) == checked()


def test_beams_count_at_temperature_zero_and_draws_above() -> None:
    found = checked(temperature=(0.0, 0.5), beam_size=5, patience=2.0, best_of=3)
    first, second = found.attempts
    assert (first.beam_size, first.patience, first.best_of) == (5, 2.0, None)
    assert (second.beam_size, second.patience, second.best_of) == (None, None, 3)


def test_a_threshold_may_be_switched_off() -> None:
    found = checked(no_speech_threshold=None, logprob_threshold=-0.5)
    assert found.thresholds == Thresholds(2.4, -0.5, None)


@pytest.mark.parametrize("name", ["de", "German", "german", "<|de|>"])
def test_a_language_may_be_called_by_code_or_name(name: str) -> None:
    found = checked(language=name)
    assert found.language == "de"
    assert {attempt.language for attempt in found.attempts} == {"de"}


def test_a_settled_language_reaches_every_attempt() -> None:
    found = checked().in_language("fr")
    assert found.language == "fr"
    assert {attempt.language for attempt in found.attempts} == {"fr"}


@pytest.mark.parametrize(
    ("name", "close"), [("beam_sise", "beam_size"), ("languag", "language"), ("temprature", "temperature")]
)
def test_an_unknown_option_suggests_a_close_one(name: str, close: str) -> None:
    with pytest.raises(OptionError, match=rf"No transcription option named '{name}'\. Did you mean {close}\?"):
        checked(**{name: 5})


def test_an_unknown_option_unlike_all_others_lists_them() -> None:
    with pytest.raises(OptionError, match=r"'xyzzy'\. Known: beam_size, best_of, .*without_timestamps"):
        checked(xyzzy=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": "0"}, "temperature is '0'; expected a number or a sequence of numbers"),
        ({"temperature": None}, "temperature is None"),
        ({"temperature": True}, "temperature is True"),
        ({"temperature": [0, "1"]}, "temperature is"),
        ({"temperature": np.zeros((1, 2))}, "temperature is"),
        ({"no_speech_threshold": "high"}, "no_speech_threshold is 'high'; expected a number or None"),
        ({"logprob_threshold": [1]}, "logprob_threshold"),
        ({"compression_ratio_threshold": "2"}, "compression_ratio_threshold"),
        ({"condition_on_previous_text": "no"}, "condition_on_previous_text is 'no'; expected True or False"),
        ({"carry_initial_prompt": 1}, "carry_initial_prompt"),
        ({"initial_prompt": 5}, "initial_prompt is 5; expected text or None"),
        ({"initial_prompt": b"bytes"}, "initial_prompt"),
        ({"clip_timestamps": 5}, "clip_timestamps is 5; expected text or a sequence of numbers"),
        ({"clip_timestamps": ["a"]}, "clip_timestamps"),
        ({"task": None}, "task is None; expected text"),
        ({"language": 3}, "language"),
        ({"sample_len": 2.5}, "sample_len is 2.5; expected a whole number or None"),
        ({"best_of": "5"}, "best_of"),
        ({"beam_size": 2.0}, "beam_size"),
        ({"patience": "x", "beam_size": 2}, "patience"),
        ({"length_penalty": "x"}, "length_penalty"),
        ({"prefix": 5}, "prefix is 5; expected text or a sequence of whole numbers or None"),
        ({"prefix": {1, 2}}, "prefix"),
        ({"suppress_tokens": 50}, "suppress_tokens"),
        ({"suppress_tokens": [0.5]}, "suppress_tokens"),
        ({"suppress_blank": None}, "suppress_blank"),
        ({"without_timestamps": "False"}, "without_timestamps"),
        ({"max_initial_timestamp": "1"}, "max_initial_timestamp"),
        ({"seed": 1.5}, "seed"),
    ],
    ids=repr,
)
def test_an_option_of_the_wrong_type_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        checked(**options)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"temperature": []}, "temperature is an empty sequence"),
        ({"temperature": (0.0, -1.0)}, "temperature is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"task": "summarise"}, "task"),
        ({"language": "Elvish"}, "Elvish"),
        ({"patience": 2.0}, "patience needs beam_size"),
        ({"max_initial_timestamp": -1.0}, "max_initial_timestamp is -1.0"),
        ({"max_initial_timestamp": float("inf")}, "max_initial_timestamp is inf"),
        ({"sample_len": 0}, "sample_len is 0"),
    ],
    ids=repr,
)
def test_an_impossible_option_is_refused_by_name(options: dict[str, Any], name: str) -> None:
    with pytest.raises(OptionError, match=name):
        checked(**options)


def test_every_annotated_option_can_be_checked() -> None:
    for name in TranscribeOptions.__annotations__:
        with pytest.raises(OptionError, match=f"^{name} is .*; expected "):
            checked(**{name: object()})


def test_numbers_and_sequences_of_numpy_become_pythons_own() -> None:
    found = checked(
        temperature=np.linspace(0, 1, 3, dtype=np.float32), sample_len=np.int64(7), clip_timestamps=np.array([1.0, 2.0])
    )
    assert [attempt.temperature for attempt in found.attempts] == [0.0, 0.5, 1.0]
    assert {type(attempt.temperature) for attempt in found.attempts} == {float}
    assert type(found.attempts[0].sample_len) is int
    assert found.clip_timestamps == (1.0, 2.0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(0, (0,)), (0.5, (0.5,)), ([0, 0.5], (0, 0.5)), (np.array([0.0, 1.0]), (0.0, 1.0))],
    ids=repr,
)
def test_one_temperature_or_several_may_be_given(given: Any, expected: tuple[float, ...]) -> None:
    assert [attempt.temperature for attempt in checked(temperature=given).attempts] == list(expected)
    if not isinstance(given, np.ndarray):
        assert parse_temperatures(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ()),
        ("0", (0.0,)),
        ("1,2.5", (1.0, 2.5)),
        (" 1 , 2 ,3", (1.0, 2.0, 3.0)),
        ([], ()),
        ([1, 2.5, 3], (1.0, 2.5, 3.0)),
        ([5.0, 6.0, 1.0, 2.0], (5.0, 6.0, 1.0, 2.0)),
    ],
)
def test_clip_times_are_read_from_text_and_sequences(given: Any, expected: tuple[float, ...]) -> None:
    assert parse_clip_timestamps(given) == expected


@pytest.mark.parametrize("given", ["a", "1,,2", "1;2", "nan", "inf", "1e999", "-1", "2,1", "1,1", [3.0, 1.0]])
def test_impossible_clip_times_are_refused(given: Any) -> None:
    with pytest.raises(OptionError, match="clip_timestamps"):
        parse_clip_timestamps(given)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((), [(0, 1000)]),
        ((0.0,), [(0, 1000)]),
        ((2.5,), [(250, 1000)]),
        ((1.0, 2.0), [(100, 200)]),
        ((1.0, 2.0, 3.0), [(100, 200), (300, 1000)]),
        ((1.0, 99.0), [(100, 1000)]),
        ((50.0, 99.0), [(1000, 1000)]),
        ((50.0,), [(1000, 1000)]),
        ((0.004, 0.016), [(0, 2)]),
    ],
)
def test_clips_end_with_the_recording(times: tuple[float, ...], expected: list[tuple[int, int]]) -> None:
    assert clips(times, n_frames=1000) == expected


def test_openai_whispers_idle_options_change_nothing() -> None:
    words: Any = {"word_timestamps": False, "hallucination_silence_threshold": None, "prepend_punctuations": "("}
    assert transcription_options({**words, "verbose": None, "fp16": False}) == transcription_options({})


@pytest.mark.parametrize("option", [{"word_timestamps": True}, {"hallucination_silence_threshold": 2.0}])
def test_word_timestamps_are_refused_and_not_ignored(option: Any) -> None:
    with pytest.raises(OptionError, match="needs word timestamps, which this version does not have"):
        transcription_options(option)
