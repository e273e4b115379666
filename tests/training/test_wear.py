import numpy as np
import pytest

from training import wear
from training.wear import at_speed, coded, in_a_room, worn


def tone(frequency: float = 440.0, seconds: float = 0.5) -> np.ndarray:
    time = np.arange(int(seconds * 16_000)) / 16_000
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def loudest_frequency(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples))


def test_a_room_keeps_the_length_and_begins_with_the_sound_itself():
    rng = np.random.default_rng(1)
    for _ in range(5):
        wet = in_a_room(tone(), rng)
        assert wet.shape == tone().shape
        assert wet.dtype == np.float32
        np.testing.assert_allclose(wet[:30], tone()[:30], atol=1e-5)  # 2 ms before the first echo, by FFT in fp64
        assert np.abs(wet[200:] - tone()[200:]).max() > 0.001


@pytest.mark.parametrize("codec", wear._CODECS, ids=lambda codec: codec[0])
def test_a_codec_keeps_the_length_and_the_tone(codec: tuple[object, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wear, "_CODECS", (codec,))
    heard = coded(tone(), np.random.default_rng(2))
    assert heard.shape == tone().shape
    assert heard.dtype == np.float32
    assert loudest_frequency(heard) == pytest.approx(440, abs=4)
    assert not np.array_equal(heard, tone())


def test_a_tape_played_faster_is_shorter_and_higher():
    faster = at_speed(tone(), 1.25)
    assert len(faster) == pytest.approx(len(tone()) / 1.25, abs=2)
    assert loudest_frequency(faster) == pytest.approx(550, abs=4)


@pytest.mark.parametrize("loudness", [0.001, 0.1, 1.0])
def test_worn_sounds_are_equally_loud_and_as_long_as_before(loudness: float):
    rng = np.random.default_rng(3)
    for _ in range(10):
        heard = worn(tone() * loudness, rng, room=0.5, codec=0.3)
        assert len(heard) == len(tone())
        assert np.abs(heard).max() == pytest.approx(0.7, abs=1e-4)


def test_a_sound_without_room_and_codec_only_changes_its_loudness():
    heard = worn(tone(), np.random.default_rng(4), room=0, codec=0)
    np.testing.assert_allclose(heard, tone() * 1.4, atol=1e-5)


def test_silence_stays_silent():
    assert not worn(np.zeros(1000, np.float32), np.random.default_rng(5)).any()
