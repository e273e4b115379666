"""The sound of a whole window: its utterances, and noise behind them."""

from collections.abc import Sequence

import numpy as np

from training.augment import FLOOR, LogPower, with_noise
from training.kinds import Kind
from training.placement import Placed
from training.pools import Pools


def spectrum_of(rng: np.random.Generator, pools: Pools, kind: Kind, placed: Sequence[Placed]) -> LogPower:
    """Log power of the window, "2·n_positions n_mels"; two thirds of the windows have noise."""
    spectrum = np.full((2 * kind.n_positions, 80), FLOOR, np.float32)
    for item in placed:
        spectrum[2 * item.first : 2 * item.first + len(item.spectrum)] = item.spectrum
    if rng.random() < (0.65 if placed else 0.7):
        clip = pools.draw_noise(rng).log_power.astype(np.float32)
        return _noisy(rng, spectrum, clip, placed)
    return spectrum


def _noisy(rng: np.random.Generator, spectrum: LogPower, clip: LogPower, placed: Sequence[Placed]) -> LogPower:
    # A recording's noise ends with the recording; the padding behind it is perfectly silent.
    covered = 2 * placed[-1].last if placed else len(spectrum)
    n_frames = len(spectrum) if rng.random() < 0.4 else min(len(spectrum), covered + int(rng.integers(0, 60)))
    start = int(rng.integers(len(clip)))
    noise = np.tile(np.roll(clip, start, axis=0), (n_frames // len(clip) + 1, 1))[:n_frames]
    ratio = rng.uniform(0.6, 6)  # of log10 power: 6 to 60 dB
    speech_level = _level(np.concatenate([item.spectrum for item in placed])) if placed else 0.0
    noise = noise - _level(noise) + speech_level - ratio
    out = spectrum.copy()
    out[:n_frames] = with_noise(out[:n_frames], np.maximum(noise, FLOOR))
    return out


def _level(spectrum: LogPower) -> float:
    """How loud the loud moments are."""
    return float(np.percentile(spectrum.max(1), 90))
