"""Blocks at any rate → blocks of about a second at 16 kHz."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

import numpy as np
import soxr

from stagewhisper.arrays import Samples
from stagewhisper.errors import AudioError

SAMPLE_RATE = 16000
"""Samples per second of everything that Whisper hears."""

RatedBlock: TypeAlias = tuple[Samples, int]
"""Mono samples with their rate in Hz."""

_LOWEST_RATE, _HIGHEST_RATE = 8_000, 192_000


def resampled_blocks(blocks: Iterable[RatedBlock], *, name: str) -> Iterator[Samples]:
    """The same audio at 16 kHz; the rate may change between blocks. `name` is the recording's in messages.

    Raises:
        AudioError: a rate is outside 8 to 192 kHz, or there are no samples at all.
    """
    n_samples = 0
    for rate, run in groupby(blocks, key=itemgetter(1)):
        if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            raise AudioError(
                f"{name} has a sample rate of {rate} Hz; expected 8,000 to 192,000. Resample it with another program."
            )
        for samples in _resampled(_in_seconds((block for block, _ in run), rate), rate):
            n_samples += len(samples)
            yield samples
    if n_samples == 0:
        raise AudioError(f"{name} decodes to no samples. Check that it was recorded or downloaded completely.")


def _in_seconds(blocks: Iterable[Samples], rate: int) -> Iterator[Samples]:
    """The same samples in blocks of at least a second: a codec's frames are too short for one by one."""
    pending: list[Samples] = []
    n_pending = 0
    for block in blocks:
        pending.append(block)
        n_pending += len(block)
        if n_pending >= rate:
            yield np.concatenate(pending)
            pending, n_pending = [], 0
    if n_pending:
        yield np.concatenate(pending)


def _resampled(blocks: Iterable[Samples], rate: int) -> Iterator[Samples]:
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, num_channels=1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, dtype=np.float32), last=True)
