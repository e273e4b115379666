"""A decoded frame → its channels as an array."""

from typing import Any

import av
import numpy as np
from av.audio.plane import AudioPlane

_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}


def frame_channels(frame: av.AudioFrame) -> np.ndarray:
    """The frame's samples in its own number format, of shape (channels, samples).

    Not `frame.to_ndarray()`: up to its version 18 at least, PyAV takes all pointers up to the first null for planes,
    and from 8 channels on there is none, so that it reads foreign memory.

    Raises:
        ValueError: the format is one that NumPy lacks, such as 64-bit integers.
    """
    packed_name = frame.format.packed.name
    if packed_name not in _DTYPES:
        raise ValueError(f"samples of type {packed_name} are not supported")
    n_channels = frame.layout.nb_channels
    n_planes, width = (n_channels, 1) if frame.format.is_planar else (1, n_channels)
    # Every plane is a buffer, though its stub does not say so.
    buffers: list[Any] = [AudioPlane(frame, i) for i in range(n_planes)]
    dtype = _DTYPES[packed_name]
    planes = [np.frombuffer(buffer, dtype=dtype, count=frame.samples * width) for buffer in buffers]
    return np.stack(planes) if frame.format.is_planar else planes[0].reshape(-1, n_channels).T
