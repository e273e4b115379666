"""What happens to a sound on its way to the recording: rooms, codecs, another speed. Costly, so done once, in a corpus.

What is drawn anew each time that an utterance is used is in `augment.py`.
"""

import io

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from stagewhisper.audio import SAMPLE_RATE, load_audio

Samples = NDArray[np.float32]

_PEAK = 0.7
_CODECS = (
    ("libopus", "ogg", 16_000, (12_000, 24_000)),
    ("libmp3lame", "mp3", 16_000, (24_000, 40_000)),
    ("pcm_mulaw", "wav", 8_000, (64_000,)),
)
"""Name, container, sample rate and bit rates; the last is the telephone's."""


def worn(samples: Samples, rng: np.random.Generator, *, room: float = 0.25, codec: float = 0.15) -> Samples:
    """`samples` with a room's echo and a codec's damage, each with the given probability; its peak is 0.7."""
    if rng.random() < room:
        samples = in_a_room(samples, rng)
    if rng.random() < codec:
        samples = coded(samples, rng)
    loudest = float(np.abs(samples).max(initial=1e-6))
    return (samples * (_PEAK / loudest)).astype(np.float32)


def at_speed(samples: Samples, factor: float) -> Samples:
    """Faster or slower like a tape: pitch and formants move with the tempo; above 1 is faster."""
    resampled: Samples = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE).astype(np.float32)
    return resampled


def in_a_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """The sound with a short, faint echo, as long as before: a living room, not a church, which would stop learning."""
    decay = rng.uniform(0.05, 0.35)  # seconds to -60 dB
    time = np.arange(int(decay * SAMPLE_RATE)) / SAMPLE_RATE
    echo = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    echo[: int(0.002 * SAMPLE_RATE)] = 0
    echo *= rng.uniform(0.15, 0.6) / np.sqrt(np.square(echo).sum() + 1e-9)
    echo[0] = 1  # the sound itself
    n = 1 << (len(samples) + len(echo) - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, n) * np.fft.rfft(echo, n), n)[: len(samples)]
    return wet.astype(np.float32)


def coded(samples: Samples, rng: np.random.Generator) -> Samples:
    """The sound after a lossy codec, as long as before: Opus, MP3 or the telephone's mu-law at 8 kHz."""
    codec, container, rate, bit_rates = _CODECS[rng.integers(len(_CODECS))]
    bit_rate = None if codec == "pcm_mulaw" else int(rng.choice(bit_rates))
    source = samples if rate == SAMPLE_RATE else soxr.resample(samples, SAMPLE_RATE, rate)
    decoded = load_audio(_encoded(source, codec, container, rate, bit_rate))[: len(samples)]
    return np.pad(decoded, (0, len(samples) - len(decoded)))


def _encoded(samples: Samples, codec: str, container: str, rate: int, bit_rate: int | None) -> bytes:
    pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)[None]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)  # noqa: S101 narrows the type: av's annotation knows no codec's kind
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return buffer.getvalue()
