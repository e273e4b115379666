"""Write test recordings with PyAV, so that the tests need no ffmpeg program and no stored files."""

import io
from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np

CODECS: Mapping[str, tuple[str, str, int]] = {
    "wav": ("wav", "pcm_s16le", 16000),
    "flac": ("flac", "flac", 16000),
    "mp3": ("mp3", "libmp3lame", 16000),
    "m4a": ("mp4", "aac", 16000),
    "aac": ("adts", "aac", 16000),
    "ogg": ("ogg", "libopus", 48000),
    "webm": ("webm", "libopus", 48000),
    "mkv": ("matroska", "flac", 16000),
    "aiff": ("aiff", "pcm_s16be", 16000),
}
"""File type → ffmpeg's container, its codec, and the sample rate that is natural there."""


def tone(rate: int, seconds: float, *, frequency: float = 440.0, level: float = 0.5) -> np.ndarray:
    time = np.arange(round(rate * seconds)) / rate
    return (level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def encode(
    channels: np.ndarray,
    file_type: str,
    *,
    rate: int | None = None,
    layout: str = "mono",
    codec: str | None = None,
    with_video: bool = False,
) -> bytes:
    """The bytes of a file that holds `channels`, float32 of shape (samples,) or (channels, samples)."""
    container_name, default_codec, natural_rate = CODECS[file_type]
    rate = rate or natural_rate
    target = io.BytesIO()
    with av.open(target, "w", format=container_name) as container:
        stream = container.add_stream(codec or default_codec, rate=rate, layout=layout)
        if with_video:
            _mux_video(container)
        if not stream.codec_context.is_open:
            stream.codec_context.open()
        interleaved = np.atleast_2d(channels).astype(np.float32).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, "flt", layout)  # PyAV's planar frames end at 7 channels
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = 0
        size = stream.codec_context.frame_size or 4096
        resampler = av.AudioResampler(stream.format.name, layout, rate, frame_size=size)
        pieces = [*resampler.resample(frame), *resampler.resample(None)]
        for piece in pieces:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return target.getvalue()


def encode_video_only() -> bytes:
    """The bytes of a Matroska file with a second of grey pictures and no sound."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as container:
        _mux_video(container)
    return target.getvalue()


def _mux_video(container: "av.container.OutputContainer") -> None:
    video = container.add_stream("mpeg4", rate=10)
    video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
    for i in range(10):
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 25 * i, np.uint8), "rgb24")
        picture.pts = i
        container.mux(video.encode(picture))
    container.mux(video.encode(None))
