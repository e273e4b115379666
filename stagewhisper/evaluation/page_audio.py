"""A recording made small enough to stand inside a page."""

import io
import warnings
from fractions import Fraction

import av
import numpy as np

from stagewhisper.arrays import Samples
from stagewhisper.audio import SAMPLE_RATE, AudioSource, audio_blocks
from stagewhisper.errors import AudioError, AudioWarning

AUDIO_SECONDS = 30
"""What is kept of a recording: Whisper's window."""

_BIT_RATE = 20_000
"""Of Opus: the lower end of RFC 6716's range for wideband speech (section 2.1.1), 75 kB for 30 s."""


def small_audio(source: AudioSource) -> bytes | None:
    """The recording's first 30 s as mono Opus in WebM, or None when it cannot be read or Opus cannot be written.

    The same recording gives the same bytes. WebM rather than Ogg: Safari plays Opus in it since version 15.
    """
    try:
        return _encoded(_beginning(source))
    except (AudioError, av.FFmpegError, av.codec.codec.UnknownCodecError):
        return None


def _beginning(source: AudioSource) -> Samples:
    blocks: list[Samples] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)  # who evaluates the recording has been told of its damage
        for block in audio_blocks(source):
            blocks.append(block)
            if sum(map(len, blocks)) >= AUDIO_SECONDS * SAMPLE_RATE:
                break
    return np.concatenate(blocks)[: AUDIO_SECONDS * SAMPLE_RATE]


def _encoded(samples: Samples) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="webm", options={"fflags": "+bitexact"}) as container:  # no random identifiers
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono", bit_rate=_BIT_RATE)
        stream.codec_context.options = {"application": "voip"}
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "flt", "mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        frame_size = stream.codec_context.frame_size
        resampler = av.AudioResampler(stream.format.name, "mono", SAMPLE_RATE, frame_size=frame_size)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return target.getvalue()
