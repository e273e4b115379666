import json
from pathlib import Path

import numpy as np
import pytest

from stagewhisper.errors import DataSetError
from training.corpus import Description, log_power_of, read_corpus, speech_limits, with_limits, writing_corpus

ABOUT = Description(
    "¿Qué hora es?",
    "es",
    "espeak",
    "es+f3",
    start=0.1,
    end=0.9,
    translation="What time is it?",
    word_times=((0, 0.1), (5, 0.4)),
    phoneme_times=((0.0, ""), (0.1, "k")),
    phonemes=("k",),
)


def tone(before: float, sounding: float, after: float, *, floor: float = 0.0) -> np.ndarray:
    """A tone between two silences, over noise of amplitude `floor`."""
    rng = np.random.default_rng(1)
    time = np.arange(int((before + sounding + after) * 16_000)) / 16_000
    sound = 0.3 * np.sin(2 * np.pi * 440 * time) * ((time >= before) & (time < before + sounding))
    return (sound + floor * rng.standard_normal(len(time))).astype(np.float32)


def test_what_was_written_is_read_again(tmp_path: Path):
    sounds = [tone(0.1, 0.4, 0.1), tone(0, 0.3, 0)]
    descriptions = [ABOUT, Description("Seven.", "en", "fsdd", "fsdd-theo", 0.0, 0.3)]
    with writing_corpus(tmp_path / "corpus", "part") as corpus:
        for about, samples in zip(descriptions, sounds, strict=True):
            corpus.add(about, samples)
    read = read_corpus(tmp_path / "corpus")
    assert [utterance.about for utterance in read] == descriptions
    for utterance, samples in zip(read, sounds, strict=True):
        np.testing.assert_array_equal(utterance.log_power, log_power_of(samples))
    assert [utterance.duration for utterance in read] == pytest.approx([0.6, 0.3], abs=0.02)


def test_parts_are_read_by_name_or_all_in_order(tmp_path: Path):
    for name in ("b", "a"):
        with writing_corpus(tmp_path, name) as corpus:
            corpus.add(Description(name, "en", "espeak", name, 0, 0), tone(0, 0.1, 0))
    assert [utterance.about.text for utterance in read_corpus(tmp_path)] == ["a", "b"]
    assert [utterance.about.text for utterance in read_corpus(tmp_path, ["b"])] == ["b"]


def test_a_part_that_could_not_be_finished_leaves_nothing_behind(tmp_path: Path):
    def fail() -> None:
        with writing_corpus(tmp_path, "part") as corpus:
            corpus.add(ABOUT, tone(0, 0.1, 0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_corpus_names_what_writes_one(tmp_path: Path):
    with pytest.raises(DataSetError, match="make_nano"):
        read_corpus(tmp_path)
    with pytest.raises(DataSetError, match=r"espeak-all-0\.jsonl"):
        read_corpus(tmp_path, ["espeak-all-0"])


def test_the_lines_are_json_that_people_can_read(tmp_path: Path):
    with writing_corpus(tmp_path, "part") as corpus:
        corpus.add(ABOUT, tone(0, 0.1, 0))
    line = (tmp_path / "part.jsonl").read_text(encoding="utf-8")
    assert "¿Qué hora es?" in line
    assert json.loads(line)["n_frames"] == 10


@pytest.mark.parametrize("n_samples", [1, 320, 321, 5000, 16_000])
def test_every_utterance_ends_with_a_position_of_the_encoder(n_samples: int):
    log_power = log_power_of(np.full(n_samples, 0.1, np.float32))
    assert log_power.shape == (2 * -(-n_samples // 320), 80)
    assert log_power.dtype == np.float16


@pytest.mark.parametrize("floor", [0.0, 0.002])
def test_speech_begins_and_ends_where_the_sound_does(floor: float):
    start, end = speech_limits(log_power_of(tone(0.4, 0.7, 0.3, floor=floor)))
    assert start == pytest.approx(0.4, abs=0.03)  # a frame hears 12.5 ms to both sides, and three are averaged
    assert end == pytest.approx(1.1, abs=0.03)


def test_a_clip_without_any_sound_is_speech_from_end_to_end():
    assert speech_limits(log_power_of(np.zeros(16_000, np.float32))) == (0.0, 1.0)


def test_limits_are_measured_on_the_samples_and_leave_the_rest():
    about = with_limits(ABOUT, tone(0.2, 0.2, 0.2))
    assert (about.start, about.end) == pytest.approx((0.2, 0.4), abs=0.03)
    assert (about.text, about.word_times) == (ABOUT.text, ABOUT.word_times)
