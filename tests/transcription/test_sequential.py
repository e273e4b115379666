"""The seek loop writes what openai-whisper's `transcribe` writes, on real recordings and made-up ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper

from stagewhisper import Model
from stagewhisper.audio import load_audio
from tests.logits import load_oracle
from tests.transcripts import SeededDraw, assert_equals_openai, seed_draws

SHORT = ("fsdd/0_george_0.wav", "fsdd/7_jackson_10.wav", "an4/fash/an251-fash-b.opus")
GREEDY: dict[str, Any] = {"temperature": 0.0, "sample_len": 20}

OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "no conditioning": {"condition_on_previous_text": False},
    "initial prompt": {"initial_prompt": " Zero, one, two. "},
    "initial prompt for the first window alone": {"initial_prompt": "Zero", "condition_on_previous_text": False},
    "carried prompt": {"initial_prompt": "Zero, one, two.", "carry_initial_prompt": True},
    "carried prompt that leaves no room": {"initial_prompt": "one " * 300, "carry_initial_prompt": True},
    "clips": {"clip_timestamps": "0.5,2.25,4,6"},
    "clips in a list, the last one open": {"clip_timestamps": [1.0, 3.0, 5.5]},
    "clips out of order": {"clip_timestamps": "5,7,1,3"},
    "translate": {"task": "translate", "language": "de"},
    "no threshold": {"no_speech_threshold": None, "logprob_threshold": None, "compression_ratio_threshold": None},
    "nothing is speech": {"no_speech_threshold": 0.0, "logprob_threshold": None},
    "unsure text is no speech": {"no_speech_threshold": 0.0, "logprob_threshold": -0.05},
    "confident text is speech": {"no_speech_threshold": 0.0, "logprob_threshold": -20.0},
    "no timestamps": {"without_timestamps": True},
    "beams": {"beam_size": 3, "length_penalty": 0.5},
    "late start": {"max_initial_timestamp": None, "suppress_blank": False},
    "prefix": {"prefix": " Two"},
}


@pytest.fixture(scope="module")
def nano_oracle(nano_pt: Path) -> whisper.Whisper:
    """openai-whisper's model with the same weights."""
    return load_oracle(nano_pt)


@pytest.fixture(scope="module")
def spoken_digits(audio_dir: Path) -> np.ndarray:
    """Eight seconds of digits, one after the other."""
    return load_audio(audio_dir / "misc" / "vosk-digits.wav")


@pytest.fixture(scope="module")
def sonnet(audio_dir: Path) -> np.ndarray:
    """Fifty seconds of verse, for which the model has few words: two windows and more."""
    return load_audio(audio_dir / "longform" / "sonnet-1.mp3")


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """Thirty-five seconds of noise that comes and goes."""
    samples = 0.1 * np.random.default_rng(0).standard_normal(35 * 16_000)
    return (samples * np.sin(np.arange(len(samples)) / 20_000)).astype(np.float32)


@pytest.mark.parametrize("name", SHORT)
def test_short_recordings_equal_openai_whisper(
    nano: Model, nano_oracle: whisper.Whisper, audio_dir: Path, name: str
) -> None:
    assert assert_equals_openai(nano, nano_oracle, load_audio(audio_dir / name), temperature=0.0)["text"]


@pytest.mark.parametrize("name", OPTIONS)
def test_one_window_equals_openai_whisper(
    nano: Model, nano_oracle: whisper.Whisper, spoken_digits: np.ndarray, name: str
) -> None:
    assert_equals_openai(nano, nano_oracle, spoken_digits, **({"language": "en"} | GREEDY | OPTIONS[name]))


@pytest.mark.parametrize(
    "name", ["greedy", "no conditioning", "carried prompt", "carried prompt that leaves no room", "no timestamps"]
)
def test_several_windows_equal_openai_whisper(
    nano: Model, nano_oracle: whisper.Whisper, sonnet: np.ndarray, name: str
) -> None:
    result = assert_equals_openai(nano, nano_oracle, sonnet, language="en", **(GREEDY | OPTIONS[name]))
    assert len({segment["seek"] for segment in result["segments"]}) > 1


def test_fallback_through_the_default_temperatures_equals_openai_whisper(
    nano: Model, nano_oracle: whisper.Whisper, sonnet: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_draws(monkeypatch)
    options = {"language": "en", "beam_size": 2, "best_of": 2, "sample_len": 6, "no_speech_threshold": None}
    options |= {"logprob_threshold": -0.05}  # no model that knows few words is so sure of verse
    result = assert_equals_openai(nano, nano_oracle, sonnet[: 12 * 16_000], **options)
    assert max(segment["temperature"] for segment in result["segments"]) > 0


@pytest.mark.parametrize("temperature", [0.0, (0.0, 0.4, 1.0)], ids=["greedy", "fallback"])
def test_noise_on_random_weights_equals_openai_whisper(
    model: Model, oracle: whisper.Whisper, noise: np.ndarray, temperature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_draws(monkeypatch)
    options = {"temperature": temperature, "best_of": 2, "sample_len": 10}
    result = assert_equals_openai(model, oracle, noise, **options)
    assert len({segment["seek"] for segment in result["segments"]}) > 1


def test_a_seed_is_openai_whispers_draw_with_that_seed(
    nano: Model, nano_oracle: whisper.Whisper, sonnet: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_draws(monkeypatch)
    verse, texts = sonnet[: 12 * 16_000], set()
    for seed in range(3):
        monkeypatch.setattr(SeededDraw, "seed", seed)
        options = {"temperature": 1.0, "sample_len": 16, "language": "en"}
        ours = nano.transcribe(verse, seed=seed, **options)
        assert ours.text == whisper.transcribe(nano_oracle, verse.copy(), fp16=False, **options)["text"]
        texts.add(ours.text)
    assert len(texts) > 1


@pytest.mark.parametrize("clips", ["2,999", [2.0, 1e300], "2,9,30,60", "2,9,20"])
def test_a_clip_that_reaches_past_the_end_stops_there(nano: Model, spoken_digits: np.ndarray, clips: Any) -> None:
    # openai-whisper goes on for ever there: its window has a negative length.
    found = nano.transcribe(spoken_digits, clip_timestamps=clips, **GREEDY)
    assert found == nano.transcribe(spoken_digits, clip_timestamps="2", **GREEDY)
    assert found.text


def test_a_clip_behind_the_end_holds_nothing(nano: Model, spoken_digits: np.ndarray) -> None:
    assert len(nano.transcribe(spoken_digits, clip_timestamps="100,200", language="en", **GREEDY)) == 0


def test_segments_of_clips_lie_inside_them(nano: Model, spoken_digits: np.ndarray) -> None:
    found = nano.transcribe(spoken_digits, clip_timestamps="0.5,2.25,4,6", language="en", **GREEDY)
    assert {segment.seek for segment in found} <= {*range(50, 225), *range(400, 600)}
    assert min(segment.seek for segment in found) == 50
    assert max(segment.seek for segment in found) >= 400


def test_progress_reaches_the_end_even_where_nothing_is_spoken(nano: Model) -> None:
    silence = np.zeros(35 * 16_000, np.float32)
    stream = nano.segments(silence, language="en", no_speech_threshold=0.0, logprob_threshold=None, **GREEDY)
    assert list(stream) == []
    assert stream.position == stream.duration == 35.0
