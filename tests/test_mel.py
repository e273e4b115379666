import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from whisper.audio import log_mel_spectrogram
from whisper.audio import mel_filters as openai_mel_filters

from stagewhisper.arrays import Mel, Samples
from stagewhisper.audio import load_audio
from stagewhisper.errors import ModelError
from stagewhisper.mel import N_FRAMES, N_SAMPLES, MelSpectrogram, log_mel, mel_filters

TOLERANCE = 1e-4  # the project's promise; openai/whisper's own float32 spectra err by up to 6e-5 on these inputs

both_sizes = pytest.mark.parametrize("n_mels", [80, 128])


def noise(n_samples: int, *, level: float = 0.1, seed: int = 0) -> Samples:
    samples: Samples = (level * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)
    return samples


def openai_mel(samples: Samples, n_mels: int, padding: int = 0) -> Mel:
    mel: Mel = log_mel_spectrogram(torch.from_numpy(samples), n_mels, padding=padding).numpy()
    return mel


def assert_close(ours: Mel, openai: Mel) -> None:
    assert ours.shape == openai.shape
    np.testing.assert_allclose(ours, openai, rtol=0, atol=TOLERANCE)


SECONDS = np.arange(2 * 16000) / 16000
RECORDINGS = {
    "noise": noise(32000),
    "very quiet noise": noise(32000, level=1e-5),
    "silence": np.zeros(32000, np.float32),
    "constant": np.full(32000, 0.5, np.float32),
    "clipped tone": np.clip(5 * np.sin(2 * np.pi * 200 * SECONDS), -1, 1).astype(np.float32),
    "tone": np.sin(2 * np.pi * 1000 * SECONDS).astype(np.float32),
    "rising tone": np.sin(2 * np.pi * 2000 * SECONDS**2).astype(np.float32),
    "click": np.eye(1, 32000, 16000, dtype=np.float32)[0],
    "loud after quiet": np.concatenate([noise(16000, level=1e-5), noise(16000, level=1)]),
    "a minute of noise": noise(60 * 16000),
}


@both_sizes
@pytest.mark.parametrize("name", RECORDINGS)
def test_made_recordings_give_openai_whispers_spectrogram(name: str, n_mels: int):
    assert_close(log_mel(RECORDINGS[name], n_mels=n_mels), openai_mel(RECORDINGS[name], n_mels))


@both_sizes
@pytest.mark.parametrize("name", ["speeches/jfk.flac", "an4", "fsdd", "multilingual"])
def test_real_recordings_give_openai_whispers_spectrogram(name: str, n_mels: int, audio_dir: Path):
    found = audio_dir / name
    path = found if found.is_file() else sorted(p for p in found.rglob("*") if p.suffix in {".wav", ".flac", ".mp3"})[0]
    samples = load_audio(path)
    assert samples.max() > 0.01
    assert_close(
        log_mel(samples, n_mels=n_mels, padding_samples=N_SAMPLES), openai_mel(samples, n_mels, padding=N_SAMPLES)
    )


@pytest.mark.parametrize("n_samples", [201, 319, 320, 399, 400, 401, 559, 560, 47_999, 48_000, 48_040, 48_160, 48_201])
@pytest.mark.parametrize("padding", [0, 40, 1000])
def test_both_edges_equal_openai_whispers_at_any_length(n_samples: int, padding: int):
    samples = noise(n_samples, seed=n_samples)
    assert_close(log_mel(samples, n_mels=80, padding_samples=padding), openai_mel(samples, 80, padding=padding))


@pytest.mark.parametrize("n_samples", [1, 39, 40, 41, 100, 159, 160, 199, 200])
def test_tiny_recordings_before_a_window_of_silence_equal_openai_whispers(n_samples: int):
    samples = noise(n_samples, seed=n_samples)
    assert_close(log_mel(samples, n_mels=80, padding_samples=N_SAMPLES), openai_mel(samples, 80, padding=N_SAMPLES))


@pytest.mark.parametrize("n_samples", [0, 1, 40, 159, 160, 199, 200])
def test_recordings_too_short_for_a_mirror_image_give_finite_frames(n_samples: int):
    mel = log_mel(np.ones(n_samples, np.float32), n_mels=80)
    assert mel.shape == (80, n_samples // 160)
    assert np.isfinite(mel).all()


@both_sizes
def test_filters_are_openai_whispers(n_mels: int):
    openai = openai_mel_filters("cpu", n_mels).numpy()
    np.testing.assert_allclose(mel_filters(n_mels), openai, rtol=0, atol=1e-8)  # a quarter of float32's spacing there


@pytest.mark.parametrize("n_mels", [-1, 0, 1, 64, 81, 256])
def test_a_filterbank_that_no_checkpoint_uses_is_refused(n_mels: int):
    with pytest.raises(ModelError, match=f"has {n_mels} bins.*80 or 128"):
        log_mel(noise(16000), n_mels=n_mels)


def test_the_samples_are_left_as_they_were():
    samples = noise(50_000)
    before = samples.copy()
    log_mel(samples, n_mels=80)
    MelSpectrogram(samples, 80).window(0, 400)
    np.testing.assert_array_equal(samples, before)


@both_sizes
@pytest.mark.parametrize("n_samples", [0, 1, 160, 47_999, 48_000, 47_900, 16000 * 37 + 77])
def test_windows_are_pieces_of_the_whole_to_the_last_bit(n_samples: int, n_mels: int):
    samples = noise(n_samples)
    whole = log_mel(samples, n_mels=n_mels, padding_samples=N_SAMPLES)
    spectrogram = MelSpectrogram(samples, n_mels)
    assert spectrogram.n_frames == n_samples // 160 == whole.shape[1] - N_FRAMES
    choose = np.random.default_rng(n_samples)
    places = [0, 1, 299, 300, 301, spectrogram.n_frames, *choose.integers(0, spectrogram.n_frames + 1, 10).tolist()]
    for start in (place for place in places if place <= spectrogram.n_frames):
        for length in (0, 1, 299, N_FRAMES):
            window = spectrogram.window(start, length)
            assert window.shape == (n_mels, length)
            np.testing.assert_array_equal(window, whole[:, start : start + length])


def test_the_maximum_counts_a_sound_at_the_very_end():
    samples = noise(48_000, level=1e-4)
    samples[-30:] = 1  # heard by frames that begin behind the recording's last whole frame too
    whole = log_mel(samples, n_mels=80, padding_samples=N_SAMPLES)
    np.testing.assert_array_equal(MelSpectrogram(samples, 80).window(0, 300), whole[:, :300])


def test_behind_the_recording_there_is_silence_without_end():
    spectrogram = MelSpectrogram(noise(16000), 80)
    window = spectrogram.window(10_000, N_FRAMES)
    assert window.shape == (80, N_FRAMES)
    assert (window == window[0, 0]).all()


def test_changing_a_window_does_not_change_the_next():
    spectrogram = MelSpectrogram(noise(100_000), 80)
    first = spectrogram.window(0, 300)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(spectrogram.window(0, 300), kept)


def test_an_hour_needs_little_memory_beside_its_samples():
    samples = np.zeros(3600 * 16000, np.float32)
    tracemalloc.start()
    try:
        spectrogram = MelSpectrogram(samples, 128)
        for start in (0, 200_000, spectrogram.n_frames - 100):
            spectrogram.window(start, N_FRAMES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64e6  # the spectrogram itself would take 184 MB
