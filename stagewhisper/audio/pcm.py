"""Samples of any number format → float32 with full scale at ±1, and many channels → one."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from stagewhisper.arrays import Samples

LOUDEST = 2.0**32
"""No recording is louder, not even unscaled 32-bit integers; far beyond, float32 spectra overflow."""

_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}

# ffmpeg's default weights for mixing to mono: 3 dB down for the front sides, 6 for a surround channel, nothing of
# the low-frequency channel (libswresample/rematrix.c).
_WEIGHTS = {
    "FC": 1.0,
    "FL": 0.5**0.5,
    "FR": 0.5**0.5,
    "FLC": 0.5**0.5,
    "FRC": 0.5**0.5,
    "LFE": 0.0,
    "LFE2": 0.0,
}
_SURROUND_WEIGHT = 0.5


def to_float(pcm: np.ndarray) -> Float32[np.ndarray, "..."]:
    """`pcm` as float32, full scale at ±1.

    Raises:
        TypeError: it holds neither floats nor int16, int32 or uint8, which have no agreed full scale.
    """
    if pcm.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a float64 too large for float32 becomes inf, which callers look for
            return pcm.astype(np.float32, copy=False)
    if pcm.dtype == np.uint8:
        return (pcm.astype(np.float32) - np.float32(128)) / np.float32(128)
    full_scale = _FULL_SCALE.get(pcm.dtype.newbyteorder("="))
    if full_scale is None:
        raise TypeError(f"{pcm.dtype} samples")
    return pcm.astype(np.float32) / np.float32(full_scale)


def mix_down(channels: Float32[np.ndarray, "n_channels n_samples"], names: Sequence[str] = ()) -> Samples:
    """One channel from several: their mean, weighted as ffmpeg does by each one's place; ±1 is never exceeded.

    `names` are ffmpeg's for the channels (FL, FC, LFE …); without them, or where they say nothing, all count
    the same. openai/whisper mixes with ffmpeg too, so its samples are ours up to 16-bit rounding.
    """
    if len(channels) == 1:
        only: Samples = channels[0]
        return only
    weights = np.array([_WEIGHTS.get(name, _SURROUND_WEIGHT) for name in names], dtype=np.float32)
    if len(weights) != len(channels) or not weights.any():
        weights = np.ones(len(channels), dtype=np.float32)
    mixed: Samples = np.asarray((weights / weights.sum()) @ channels, dtype=np.float32)
    return mixed


def is_sane(samples: Float32[np.ndarray, "..."]) -> bool:
    """Whether every sample is a number and none is louder than any recording can be."""
    # Comparisons with NaN are false, and min and max need no temporary array.
    return samples.size == 0 or bool(samples.min() >= -LOUDEST and samples.max() <= LOUDEST)
