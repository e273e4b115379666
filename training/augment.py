"""What happens to a recording on its way to the model: rooms, codecs, other throats and tempos, noise, telephone bands.

The costly ones work on samples, once, when the corpus is made. The others work on log power spectra and are drawn
anew each time that an utterance is used.
"""

import io
from dataclasses import dataclass

import av
import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
LogPower = NDArray[np.float32]
SAMPLE_RATE = 16_000
_FLOOR = -10.0


def worn(samples: Samples, rng: np.random.Generator, *, room: float = 0.25, codec: float = 0.15) -> Samples:
    """`samples` with a room's echo and a codec's damage, each with the given probability; peak at most 1."""
    if rng.random() < room:
        samples = in_a_room(samples, rng)
    if rng.random() < codec:
        samples = coded(samples, rng)
    peak = float(np.abs(samples).max(initial=1e-6))
    return (samples * (0.7 / peak)).astype(np.float32)


def at_speed(samples: Samples, factor: float) -> Samples:
    """Faster or slower like a tape: pitch and formants move with the tempo."""
    resampled: Samples = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE).astype(np.float32)
    return resampled


def in_a_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """The sound with a few early echoes and a short, faint tail: a living room, not a church."""
    decay = rng.uniform(0.05, 0.35)  # seconds to -60 dB
    time = np.arange(int(decay * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    tail[: int(0.002 * SAMPLE_RATE)] = 0
    tail *= rng.uniform(0.15, 0.6) / np.sqrt(np.square(tail).sum() + 1e-9)
    tail[0] = 1
    n = 1 << (len(samples) + len(tail) - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, n) * np.fft.rfft(tail, n), n)[: len(samples)]
    return wet.astype(np.float32)


_CODECS = (
    ("libopus", "ogg", 16_000, (12_000, 24_000)),
    ("libmp3lame", "mp3", 16_000, (24_000, 40_000)),
    ("pcm_mulaw", "wav", 8_000, (64_000,)),
)


def coded(samples: Samples, rng: np.random.Generator) -> Samples:
    """The sound after a lossy codec: Opus, MP3 or the telephone's mu-law at 8 kHz."""
    name, container, rate, bit_rates = _CODECS[rng.integers(len(_CODECS))]
    source = samples if rate == SAMPLE_RATE else soxr.resample(samples, SAMPLE_RATE, rate)
    pcm = (np.clip(source, -1, 1) * 32767).astype(np.int16)[None]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(name, rate=rate, layout="mono")
        if name != "pcm_mulaw":
            stream.bit_rate = int(rng.choice(bit_rates))
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    from stagewhisper.audio import load_audio

    decoded = load_audio(buffer.getvalue())
    fitted = np.zeros(len(samples), np.float32)
    fitted[: min(len(decoded), len(fitted))] = decoded[: len(fitted)]
    return fitted


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


def draw_change(rng: np.random.Generator, *, strength: float = 1.0, narrow: float = 0.2) -> Change:
    """A change of average `strength`; `narrow` is the probability of a telephone's band."""
    tempo = float(np.exp(rng.uniform(-0.16, 0.18) * strength))
    throat = float(np.exp(np.clip(rng.normal(0, 0.07), -0.15, 0.15) * strength))
    bands = np.linspace(-1, 1, 80, dtype=np.float32)
    colour = rng.normal(0, 0.25) * bands + rng.normal(0, 0.2) * np.cos(
        np.pi * bands * rng.uniform(0.5, 2.5) + rng.uniform(0, 6.3)
    )
    colour = (colour * strength).astype(np.float32)
    if rng.random() < narrow:
        top = int(rng.integers(54, 64))  # 3.2 to 4.4 kHz
        colour[top:] -= np.minimum((np.arange(80 - top) + 1) * rng.uniform(0.5, 3), 9).astype(np.float32)
        if rng.random() < 0.4:
            colour[: int(rng.integers(1, 8))] -= 2
    return Change(tempo, throat, float(rng.uniform(-2.5, 0.7)), colour)


def changed(log_power: NDArray[np.float16], change: Change) -> LogPower:
    """The spectrum in another tempo, from another throat, through another microphone."""
    spectrum = log_power.astype(np.float32)
    n_frames = max(2, 2 * round(len(spectrum) * change.tempo / 2))
    spectrum = _interpolated(spectrum, np.linspace(0, len(spectrum) - 1, n_frames))
    spectrum = _interpolated(spectrum.T, _warped_bands(change.throat)).T
    return np.maximum(spectrum + change.colour + change.gain, _FLOOR)


def with_noise(log_power: LogPower, noise: LogPower) -> LogPower:
    """Two sounds at once: their powers add up."""
    return np.logaddexp(log_power * _LN10, noise * _LN10).astype(np.float32) / _LN10


_LN10 = np.float32(np.log(10))


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


# Slaney's mel bands by frequency: linear to 1 kHz, logarithmic above (stagewhisper.mel).
_MELS = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), 82)[1:-1]
_HZ = np.where(_MELS < 15, _MELS * 1000 / 15, 1000 * np.exp(np.log(6.4) / 27 * (_MELS - 15)))


def _warped_bands(throat: float) -> NDArray[np.float64]:
    """For each band, the (fractional) band that it is taken from."""
    return np.interp(_HZ / throat, _HZ, np.arange(80.0))
