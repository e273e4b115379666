import numpy as np
import pytest

from training import noise as noises
from training.noise import noise


def test_noise_is_as_long_as_asked_and_within_full_scale():
    rng = np.random.default_rng(1)
    for n_samples in (2000, 16_000, 33_333):
        sound = noise(rng, n_samples)
        assert sound.shape == (n_samples,)
        assert sound.dtype == np.float32
        assert 0.0009 < np.abs(sound).max() < 0.8


def test_the_same_seed_makes_the_same_noise():
    first, second = (noise(np.random.default_rng(2), 4000) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, noise(np.random.default_rng(3), 4000))


@pytest.mark.parametrize("kind", ["_colour", "_gusts", "_hum", "_tones", "_clicks"])
def test_each_kind_of_noise_sounds(kind: str):
    rng = np.random.default_rng(4)
    sounds = [getattr(noises, kind)(rng, 16_000) for _ in range(5)]
    assert all(np.isfinite(sound).all() and sound.any() for sound in sounds)
