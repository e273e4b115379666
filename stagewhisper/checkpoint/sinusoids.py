"""The encoder's positions, for checkpoints that leave them out."""

import numpy as np
from jaxtyping import Float32

_MAX_TIMESCALE = 10_000  # openai/whisper, sinusoids()


def sinusoids(n_audio_ctx: int, n_audio_state: int) -> Float32[np.ndarray, "n_audio_ctx n_audio_state"]:
    """Sines in the left half of the columns, cosines in the right, with wavelengths from 2π to 20,000π positions.

    Exponents, frequencies and angles are rounded to float32 as in openai/whisper: at position 1500 one rounding
    more or less shows in the fourth digit.

    Source: openai/whisper, model.py.
    """
    half = n_audio_state // 2
    step = np.float32(np.log(_MAX_TIMESCALE) / (half - 1))
    exponents = -step * np.arange(half, dtype=np.float32)
    frequencies = np.exp(exponents.astype(np.float64)).astype(np.float32)
    angles = np.arange(n_audio_ctx, dtype=np.float32)[:, None] * frequencies[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
