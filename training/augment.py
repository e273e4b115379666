"""What happens to a log power spectrum each time that it is used: other throats and tempos, noise, telephone bands.

What is too costly for that is in `wear.py`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LogPower = NDArray[np.float32]
""""n_frames n_mels": log10 of the mel power."""
FLOOR = -10.0
"""log10 of the least power that Whisper's spectrogram knows."""

_LN10 = np.float32(np.log(10))
# Slaney's mel bands by frequency: linear to 1 kHz, logarithmic above (stagewhisper.mel).
_MELS = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), 82)[1:-1]
_HZ = np.where(_MELS < 15, _MELS * 1000 / 15, 1000 * np.exp(np.log(6.4) / 27 * (_MELS - 15)))


@dataclass(frozen=True)
class Change:
    """One draw of everything that is done to a spectrum."""

    tempo: float
    """Above 1 is slower: the number of frames is multiplied by it."""
    throat: float
    """Above 1 moves formants and pitch up: a shorter vocal tract."""
    gain: float
    """Added to log10 power."""
    colour: NDArray[np.float32]
    """Added to log10 power band by band."""

    def n_frames(self, before: int) -> int:
        """Frames of a spectrum that had `before`; an even number, so that it ends with an encoder position."""
        return max(2, 2 * round(before * self.tempo / 2))


def draw_change(rng: np.random.Generator, *, narrow: float = 0.2) -> Change:
    """A change; `narrow` is the probability of a telephone's band."""
    tempo = float(np.exp(rng.uniform(-0.16, 0.18)))
    throat = float(np.exp(np.clip(rng.normal(0, 0.085), -0.18, 0.18)))
    bands = np.linspace(-1, 1, 80, dtype=np.float32)
    tilt = rng.normal(0, 0.25) * bands
    wave = rng.normal(0, 0.2) * np.cos(np.pi * bands * rng.uniform(0.5, 2.5) + rng.uniform(0, 6.3))
    colour = (tilt + wave).astype(np.float32)
    if rng.random() < narrow:
        top = int(rng.integers(54, 64))  # 3.2 to 4.4 kHz
        colour[top:] -= np.minimum((np.arange(80 - top) + 1) * rng.uniform(0.5, 3), 9).astype(np.float32)
        if rng.random() < 0.4:
            colour[: int(rng.integers(1, 8))] -= 2
    return Change(tempo, throat, float(rng.uniform(-2.5, 0.7)), colour)


def changed(log_power: NDArray[np.float16], change: Change) -> LogPower:
    """The spectrum in another tempo, from another throat, through another microphone."""
    spectrum = log_power.astype(np.float32)
    spectrum = _interpolated(spectrum, np.linspace(0, len(spectrum) - 1, change.n_frames(len(spectrum))))
    spectrum = _interpolated(spectrum.T, _warped_bands(change.throat)).T
    return np.asarray(np.maximum(spectrum + change.colour + change.gain, FLOOR))


def with_noise(log_power: LogPower, noise: LogPower) -> LogPower:
    """Two sounds at once: their powers add up."""
    return np.asarray(np.logaddexp(log_power * _LN10, noise * _LN10).astype(np.float32) / _LN10)


def masked(log_power: LogPower, rng: np.random.Generator) -> LogPower:
    """SpecAugment: one band and one moment replaced by the mean (Park et al. 2019)."""
    out = log_power.copy()
    width, length = int(rng.integers(0, 12)), int(rng.integers(0, 10))
    band, moment = int(rng.integers(0, 80 - width)), int(rng.integers(0, max(1, len(out) - length)))
    mean = float(out.mean())
    out[:, band : band + width] = mean
    out[moment : moment + length] = mean
    return out


def _interpolated(rows: LogPower, positions: NDArray[np.float64]) -> LogPower:
    below = np.clip(positions.astype(np.int64), 0, len(rows) - 2)
    weight = (positions - below).astype(np.float32)[:, None]
    return rows[below] * (1 - weight) + rows[below + 1] * weight


def _warped_bands(throat: float) -> NDArray[np.float64]:
    """For each band, the (fractional) band that it is taken from."""
    return np.asarray(np.interp(_HZ / throat, _HZ, np.arange(80.0)), np.float64)
