"""Arrays and tensors of samples → mono float32 blocks at their own rate."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from stagewhisper.audio.pcm import is_sane, mix_down, to_float
from stagewhisper.audio.resampling import SAMPLE_RATE, RatedBlock
from stagewhisper.errors import AudioError

_BLOCK_SAMPLES = 2**16
_MAX_CHANNELS = 64


def waveform_blocks(source: Any, *, sample_rate: int | None) -> Iterator[RatedBlock]:
    """Blocks of an array with one axis (samples) or two (channels, samples), mixed down to one channel.

    Raises:
        AudioError: it is empty, has another shape, holds complex numbers or other integers than int16, int32
            and uint8, or a sample is not finite.
    """
    channels = _channels_first(_as_array(source))
    rate = SAMPLE_RATE if sample_rate is None else int(sample_rate)
    for start in range(0, channels.shape[1], _BLOCK_SAMPLES):
        block = to_float(channels[:, start : start + _BLOCK_SAMPLES])
        if not is_sane(block):
            raise AudioError(
                f"The array holds NaN, infinite or impossibly loud samples between {start / rate:.2f} and "
                f"{(start + block.shape[1]) / rate:.2f} s. Full scale is ±1; repair the samples first."
            )
        yield mix_down(block), rate


def _as_array(source: Any) -> np.ndarray:
    try:
        array = np.asarray(source)
        to_float(np.empty(0, dtype=array.dtype))
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(
            f"The {type(source).__name__} cannot be read as samples: {error}. "
            "Pass floats, int16, int32 or uint8, in the computer's own memory."
        ) from error
    return array


def _channels_first(array: np.ndarray) -> np.ndarray:
    if array.size == 0:
        raise AudioError(f"The array of shape {array.shape} is empty. Pass at least one sample.")
    if array.ndim == 1:
        return array[np.newaxis]
    if array.ndim != 2 or len(array) > min(array.shape[1], _MAX_CHANNELS):
        raise AudioError(
            f"The array has shape {array.shape}; expected (samples,) or (channels, samples) with no more "
            f"channels than samples and at most {_MAX_CHANNELS}. Transpose (samples, channels) first."
        )
    return array
