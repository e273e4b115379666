"""From whatever holds a recording to samples: the two functions that the rest of the package calls.

path, bytes, file object ─► sources.opened ─► containers ─┐
                                                          ├─► resampling ─► blocks ─► load_audio
array, tensor ────────────────────────────► waveforms ────┘
"""

import os
from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from stagewhisper.arrays import Samples
from stagewhisper.audio.containers import decoded_blocks
from stagewhisper.audio.resampling import SAMPLE_RATE, resampled_blocks
from stagewhisper.audio.sources import ByteReader, opened
from stagewhisper.audio.waveforms import waveform_blocks
from stagewhisper.errors import AudioError, OptionError


@runtime_checkable
class SupportsArray(Protocol):
    """What NumPy can read as an array: tensors of PyTorch and JAX among others."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


AudioSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | ByteReader | np.ndarray | SupportsArray
)
"""A local path, the bytes of a file, a file object open for reading bytes, or samples."""


def load_audio(source: AudioSource, *, sample_rate: int | None = None) -> Samples:
    """All of a recording as mono float32 at 16 kHz, full scale at ±1.

    Takes what `audio_blocks` takes and raises what it raises.
    """
    joined = bytearray()  # grows in place: a list of blocks to concatenate would need the memory twice
    try:
        for block in audio_blocks(source, sample_rate=sample_rate):
            joined += block.data
    except MemoryError as error:
        raise AudioError(
            f"The recording does not fit in memory, which ended at {len(joined) / (4 * SAMPLE_RATE):.0f} s. "
            "Split it, or read it with audio_blocks."
        ) from error
    return np.frombuffer(joined, dtype=np.float32)


def audio_blocks(source: AudioSource, *, sample_rate: int | None = None) -> Iterator[Samples]:
    """The recording in blocks of about a second, mono float32 at 16 kHz; memory stays bounded.

    A file or its bytes may be any audio or video container; its default audio stream is read, from the
    current position of a file object, which stays open. `bytes` are a file's content, never a path. Only
    local files are read: an address is refused, and playlists are not followed. Nothing is read before
    the first block is asked for.

    An array holds floats (full scale ±1), int16, int32 or uint8; one axis is samples, two are
    (channels, samples). `sample_rate` is its rate in Hz, 16,000 unless given.

    Raises:
        AudioError: the recording is missing, unreadable, empty, corrupt, without audio, not finite, of an
            unknown type or shape, or its rate is outside 8 to 192 kHz.
        OptionError: `sample_rate` was given for a file, which knows its own.

    Warns:
        AudioWarning: the file is damaged or cut short; the blocks are what could be decoded.
    """
    if isinstance(source, np.ndarray) or _is_array_like(source):
        yield from resampled_blocks(waveform_blocks(source, sample_rate=sample_rate), name="The array")
        return
    if sample_rate is not None:
        raise OptionError(
            f"sample_rate={sample_rate} was given with an encoded recording, which states its own rate. "
            "Leave it out, or pass the samples as an array."
        )
    with opened(source) as (file, name):
        yield from resampled_blocks(decoded_blocks(file, name=name), name=name)


def _is_array_like(source: object) -> bool:
    return isinstance(source, SupportsArray) and not isinstance(source, memoryview | bytes | bytearray)
