"""Recordings made small for the page."""

import io
from pathlib import Path

import av
import numpy as np
import pytest

from stagewhisper.audio import load_audio
from stagewhisper.evaluation.page_audio import small_audio
from tests.encoded_audio import encode, tone


def test_a_recording_becomes_mono_opus_that_sounds_like_it(tmp_path: Path):
    (tmp_path / "tone.flac").write_bytes(encode(tone(44100, 3.0), "flac", rate=44100))
    small = small_audio(tmp_path / "tone.flac")
    assert small is not None
    with av.open(io.BytesIO(small)) as container:
        (stream,) = container.streams.audio
        assert (container.format.name, stream.codec_context.name) == ("matroska,webm", "opus")
        assert stream.codec_context.channels == 1
    samples = load_audio(small)
    assert len(samples) == pytest.approx(3 * 16000, abs=480)  # Opus pads to whole frames of 20 ms, and its delay
    spectrum = np.abs(np.fft.rfft(samples[8000:40000]))
    assert np.argmax(spectrum) / 2 == pytest.approx(440, abs=1)  # two seconds: half a hertz to a bin


def test_only_the_first_thirty_seconds_are_kept_in_few_bytes():
    noise = np.random.default_rng(1).normal(0, 0.1, 45 * 16000).astype(np.float32)
    small = small_audio(encode(noise, "flac"))
    assert small is not None
    assert len(load_audio(small)) == pytest.approx(30 * 16000, abs=480)
    assert len(small) < 120_000  # 75 kB at the nominal rate; noise is the hardest to encode


def test_the_shortest_recordings_work():
    for n_samples in (1, 100, 16000):
        assert small_audio(np.full(n_samples, 0.1, np.float32)) is not None


def test_the_same_recording_gives_the_same_bytes():
    recording = encode(tone(16000, 1.0), "wav")
    assert small_audio(recording) == small_audio(recording)


def test_what_cannot_be_read_gives_none(tmp_path: Path):
    (tmp_path / "text.wav").write_text("no sound in here")
    assert small_audio(tmp_path / "text.wav") is None
    assert small_audio(tmp_path / "missing.wav") is None


def test_a_damaged_recording_is_kept_as_far_as_it_goes_without_a_warning(tmp_path: Path):
    whole = encode(tone(16000, 4.0), "flac")
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    small = small_audio(tmp_path / "cut.flac")  # the test run makes a warning an error
    assert small is not None
    assert 0.5 * 16000 < len(load_audio(small)) < 3.5 * 16000
