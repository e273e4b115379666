"""16 kHz samples to the log-Mel spectrogram that Whisper listens to.

Everything is computed in blocks of frames that lie on one fixed grid. A block is computed whole even where only a
part of it is asked for, so that a frame comes out the same to the last bit, whoever asks for it.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from math import log

import numpy as np
from jaxtyping import Float32, Float64
from numpy.lib.stride_tricks import sliding_window_view

from stagewhisper.arrays import Mel, Samples
from stagewhisper.errors import ModelError

# Source of the constants: openai/whisper, whisper/audio.py.
N_FFT = 400
N_BINS = N_FFT // 2 + 1
HOP_SAMPLES = 160
FRAMES_PER_SECOND = 100
N_SAMPLES = 480_000
"""Samples of a window of 30 s."""
N_FRAMES = N_SAMPLES // HOP_SAMPLES

_SAMPLE_RATE = HOP_SAMPLES * FRAMES_PER_SECOND
_REACH = N_FFT // 2  # a frame is centred on its first sample and reaches this far to both sides

_BLOCK_FRAMES = 300  # large enough for the matrix product, small enough for the second-level cache
_PRODUCT_FRAMES = 10
# Larger products were several times slower where the cores were busy, probably because the linear algebra gives them to
# its threads; docs/experiments.md has the numbers.
_BLOCK_SAMPLES = (_BLOCK_FRAMES - 1) * HOP_SAMPLES + N_FFT
_KEPT_BLOCKS = 200  # ten minutes, 31 MB at 128 bins

_Weights = Float32[np.ndarray, "n_bins n_mels"]
_Block = Float32[np.ndarray, "n_block n_mels"]


def log_mel(samples: Samples, *, n_mels: int, padding_samples: int = 0) -> Mel:
    """Log-Mel spectrogram of 16 kHz mono audio followed by `padding_samples` of silence, one frame per 10 ms.

    Values are log10 power, clipped to within 8 of the maximum, then mapped by (x + 4) / 4. At its two ends the
    audio is continued by its mirror image; audio too short to have one (12.5 ms) is continued by silence.

    Raises:
        ModelError: there is no filterbank for `n_mels`; checkpoints use 80 or 128.

    Source: Radford et al. 2022, section 2.2; openai/whisper, `log_mel_spectrogram`.
    """
    weights = _weights(n_mels)
    n_frames = (len(samples) + padding_samples) // HOP_SAMPLES
    mel = np.empty((n_mels, n_frames), np.float32)
    for first in range(0, n_frames, _BLOCK_FRAMES):
        target = mel[:, first : first + _BLOCK_FRAMES]
        target[:] = _log_power(samples, weights, padding_samples, first // _BLOCK_FRAMES)[: target.shape[1]].T
    return _normalize(mel, maximum=float(mel.max(initial=-np.inf)))


class MelSpectrogram:
    """The log-Mel spectrogram of a long recording followed by silence, computed where it is looked at.

    Ten minutes of frames are kept at most. Longer recordings are gone through twice, since every value depends
    on the maximum of the whole.
    """

    def __init__(self, samples: Samples, n_mels: int) -> None:
        """Goes through `samples` once, and keeps them.

        Raises:
            ModelError: there is no filterbank for `n_mels`; checkpoints use 80 or 128.
        """
        self.n_mels = n_mels
        self.n_frames = len(samples) // HOP_SAMPLES
        """Frames that begin within the recording."""
        self._block: Callable[[int], _Block] = lru_cache(_KEPT_BLOCKS)(
            partial(_log_power, samples, _weights(n_mels), N_SAMPLES)
        )
        # The frames just behind the end still hear it; the last block may hold none but silent ones.
        n_blocks = (len(samples) + _REACH) // (HOP_SAMPLES * _BLOCK_FRAMES) + 1
        self._maximum = max(float(self._block(index).max()) for index in range(n_blocks))

    def window(self, start_frame: int, n_frames: int) -> Mel:
        """The `n_frames` frames from `start_frame` on; those behind the recording are silence.

        They equal `log_mel(samples, n_mels=n_mels, padding_samples=N_SAMPLES)` in that range bit for bit.
        """
        first = start_frame // _BLOCK_FRAMES
        last = (start_frame + n_frames) // _BLOCK_FRAMES
        blocks = np.concatenate([self._block(index) for index in range(first, last + 1)])
        offset = start_frame - first * _BLOCK_FRAMES
        mel = np.ascontiguousarray(blocks[offset : offset + n_frames].T)
        return _normalize(mel, maximum=self._maximum)


@lru_cache
def mel_filters(n_mels: int) -> Float32[np.ndarray, "n_mels n_bins"]:
    """Weights that turn a power spectrum of 201 bins into `n_mels` bands: triangles of equal area.

    Raises:
        ModelError: `n_mels` is neither 80 nor 128.

    Source: Slaney, Auditory Toolbox (1998); the default of librosa's `filters.mel`.
    """
    if n_mels not in (80, 128):
        raise ModelError(f"No mel filterbank has {n_mels} bins. Whisper checkpoints use 80 or 128.")
    bin_hz = np.linspace(0, _SAMPLE_RATE / 2, N_BINS)
    edges = _mel_to_hz(np.linspace(0, _hz_to_mel(_SAMPLE_RATE / 2), n_mels + 2))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bin_hz - low) / (centre - low), (high - bin_hz) / (high - centre))
    filters: Float32[np.ndarray, "n_mels n_bins"]
    filters = (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)
    filters.setflags(write=False)  # it is shared between calls
    return filters


def _weights(n_mels: int) -> _Weights:
    """The filters as a contiguous matrix to multiply by: twice as fast as a transposed view."""
    return np.ascontiguousarray(mel_filters(n_mels).T)


# Slaney's mel scale: linear up to 1 kHz (15 mel), logarithmic above, 27 mel for a factor of 6.4.
_LINEAR_HZ, _LINEAR_MELS = 1000.0, 15.0
_LOG_STEP = log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    """The mel of a frequency in the logarithmic part."""
    return _LINEAR_MELS + log(hz / _LINEAR_HZ) / _LOG_STEP


def _mel_to_hz(mels: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    linear = mels * _LINEAR_HZ / _LINEAR_MELS
    logarithmic = _LINEAR_HZ * np.exp(_LOG_STEP * (mels - _LINEAR_MELS))
    return np.where(mels < _LINEAR_MELS, linear, logarithmic)


def _log_power(samples: Samples, weights: _Weights, padding_samples: int, index: int) -> _Block:
    """Log10 of the mel power, at least -10, of all frames of the block `index`."""
    heard = _block_samples(samples, padding_samples, index * _BLOCK_FRAMES * HOP_SAMPLES - _REACH)
    frames = sliding_window_view(heard, N_FFT)[::HOP_SAMPLES]
    # In float32 a loud band's rounding errors would drown a band 80 dB below it; here float64 costs nothing.
    spectrum = np.fft.rfft(frames * _HANN)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32)
    mel: _Block = (power.reshape(-1, _PRODUCT_FRAMES, N_BINS) @ weights).reshape(_BLOCK_FRAMES, -1)
    np.maximum(mel, 1e-10, out=mel)
    np.log10(mel, out=mel)
    return mel


_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)  # periodic


def _block_samples(samples: Samples, padding_samples: int, start: int) -> Float32[np.ndarray, " n_heard"]:
    """The `_BLOCK_SAMPLES` samples from `start` on, which may be before the recording, or behind it."""
    heard = np.zeros(_BLOCK_SAMPLES, np.float32)
    inside = samples[max(start, 0) : max(start + _BLOCK_SAMPLES, 0)]
    before = max(-start, 0)
    heard[before : before + len(inside)] = inside
    if before:
        heard[:before] = heard[2 * before : before : -1]
    end = len(samples) + padding_samples - start
    if padding_samples < _REACH and end < _BLOCK_SAMPLES:
        mirrored = heard[max(end - 1 - _REACH, 0) : max(end - 1, 0)][::-1][: _BLOCK_SAMPLES - end]
        heard[end : end + len(mirrored)] = mirrored
    return heard


def _normalize(mel: Mel, *, maximum: float) -> Mel:
    """`mel` itself, clipped and mapped in place to what the model was trained on."""
    np.maximum(mel, np.float32(maximum) - np.float32(8), out=mel)
    mel += 4
    mel /= 4
    return mel
