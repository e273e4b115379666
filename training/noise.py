"""Sound without speech, for the background of windows and for windows that hold nothing else."""

import numpy as np
from numpy.typing import NDArray

from stagewhisper.audio import SAMPLE_RATE

_Sound = NDArray[np.float64]


def noise(rng: np.random.Generator, n_samples: int) -> NDArray[np.float32]:
    """Coloured noise, hum, tones, clicks and gusts at 16 kHz, alone or up to three together; full scale is 1."""
    makers = {"colour": _colour, "hum": _hum, "tones": _tones, "clicks": _clicks, "gusts": _gusts}
    total = np.zeros(n_samples)
    for kind in rng.choice(list(makers), size=rng.integers(1, 4), replace=False):
        part = makers[kind](rng, n_samples)
        total += part / (np.abs(part).max() + 1e-9) * rng.uniform(0.1, 1)
    loudness = 10 ** rng.uniform(-3, -0.1)
    return np.asarray(total / (np.abs(total).max() + 1e-9) * loudness, np.float32)


def _colour(rng: np.random.Generator, n_samples: int) -> _Sound:
    """Noise between white and red."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.maximum(np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE), 20)
    return np.asarray(np.fft.irfft(spectrum * frequency ** (-rng.uniform(0, 1.2)), n_samples), np.float64)


def _gusts(rng: np.random.Generator, n_samples: int) -> _Sound:
    """Noise that comes and goes, as wind and traffic do."""
    swell = _colour(rng, n_samples)
    return np.asarray(swell * (1 + np.sin(2 * np.pi * _seconds(n_samples) * rng.uniform(0.2, 3) + rng.uniform(0, 6.3))))


def _hum(rng: np.random.Generator, n_samples: int) -> _Sound:
    """The mains, its harmonics weaker from one to the next."""
    base, time = rng.choice([50, 60, 100, 120]), _seconds(n_samples)
    total = np.zeros(n_samples)
    for k in range(1, 12):
        total += np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6.3)) / k ** rng.uniform(0.5, 2)
    return total


def _tones(rng: np.random.Generator, n_samples: int) -> _Sound:
    """A few beeps and sweeps."""
    total, time = np.zeros(n_samples), _seconds(n_samples)
    for _ in range(int(rng.integers(1, 6))):
        first, last = sorted(rng.integers(0, n_samples, 2))
        sweep = rng.uniform(150, 3000) + rng.uniform(-200, 200) * time[first:last]
        total[first:last] += np.sin(2 * np.pi * sweep * time[first:last]) * rng.uniform(0.2, 1)
    return total


def _clicks(rng: np.random.Generator, n_samples: int) -> _Sound:
    """Knocks that die away within 25 ms."""
    total = np.zeros(n_samples)
    for place in rng.integers(0, max(1, n_samples - 400), rng.integers(1, 20)):
        total[place : place + 400] += rng.standard_normal(400) * np.exp(-np.arange(400) / rng.uniform(5, 100))
    return total


def _seconds(n_samples: int) -> _Sound:
    return np.arange(n_samples) / SAMPLE_RATE
