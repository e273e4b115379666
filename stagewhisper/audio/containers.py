"""A file of any container and codec → mono blocks at the rate they were recorded with."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import av
import numpy as np
from av.container import InputContainer

from stagewhisper.arrays import Samples
from stagewhisper.audio.damage import Damage
from stagewhisper.audio.frames import frame_channels
from stagewhisper.audio.pcm import is_sane, mix_down, to_float
from stagewhisper.audio.resampling import RatedBlock
from stagewhisper.audio.truncation import is_cut
from stagewhisper.audio.window import ByteWindow, SeekableFile
from stagewhisper.errors import AudioError

# Only containers that hold their own audio. Missing on purpose: playlists and scripts (hls, dash, concat, sdp …),
# which make ffmpeg open whatever they name; text, images and devices; headerless formats, to which any bytes
# are sound.
_CONTAINERS = (
    "3g2,3gp,aa,aac,aax,ac3,ac4,adx,aiff,amr,amrnb,amrwb,apac,ape,asf,au,avi,avr,bonk,caf,daud,dsf,dss,dts,dtshd,"
    "dv,eac3,epaf,flac,flv,gxf,hcom,iamf,iff,ircam,kux,laf,lc3,loas,m4a,matroska,mj2,mlp,mmf,mov,mp3,mp4,mpc,"
    "mpc8,mpeg,mpegts,mtv,mxf,nistsphere,nsv,nut,nuv,ogg,oma,osq,pva,pvf,qcp,qoa,r3d,rka,rm,shn,sox,spdif,tak,"
    "truehd,tta,ty,voc,vqf,w64,wav,wavarc,webm,wsd,wtv,wv,wve,xa,xwma"
)

# Containers that state how long they are, and by how many seconds an honest statement may be too long; elsewhere
# ffmpeg guesses from the bit rate, or tells what is there. Lossless audio is stated to the sample; with the others,
# encoder delay and padding count: up to 2,112 samples of AAC, at 8 kHz.
_DURATION_MARGIN = {
    **dict.fromkeys(("aiff", "ape", "caf", "flac", "tak", "tta", "w64", "wv"), 0.01),
    **dict.fromkeys(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"), 0.3),
}

# av.FFmpegError covers ffmpeg's own; the others come from numbers in a header that no machine can follow.
_FOREIGN = (av.FFmpegError, OSError, ValueError, MemoryError, OverflowError)


def decoded_blocks(file: SeekableFile, *, name: str) -> Iterator[RatedBlock]:
    """One block per decoded frame of the default audio stream; broken packets are skipped and told at the end.

    Raises:
        AudioError: no container was recognised, it has no audio stream, or nothing in it decodes.

    Warns:
        AudioWarning: packets were broken, or the container declares more audio than it holds.
    """
    window = ByteWindow(file)
    with _opened_container(window, name) as container:
        stream = _audio_stream(container, name)
        margin = _DURATION_MARGIN.get(container.format.name)
        declared = None if margin is None else _declared_duration(container, stream)
        damage = Damage(declared=declared, margin=margin or 0.0)
        for frame in _frames(container, stream, damage):
            yield _mono(frame, name, damage), frame.sample_rate
            damage.decoded += frame.samples / frame.sample_rate
        damage.is_cut = is_cut(window, container.format.name)
    if window.error is not None:
        raise AudioError(f"{name} cannot be read to its end: {window.error}.") from window.error
    damage.report(name)


@contextmanager
def _opened_container(window: ByteWindow, name: str) -> Iterator[InputContainer]:
    # ffmpeg never learns a file's name: what it could not open by name, it cannot open at all.
    options = {
        "format_whitelist": _CONTAINERS,
        "codec_whitelist": _audio_decoders(),
        "protocol_whitelist": "none",
    }
    try:
        container = av.open(window, mode="r", container_options=options, **_LENIENT)
    except _FOREIGN as error:
        raise AudioError(
            f"{name} is not a recording that can be decoded: it is corrupt, incomplete or of another type "
            f"({_reason(error)}). Pass an audio or video file; playlists are not followed."
        ) from (window.error or error)
    with container:
        yield container


# Titles in a wrong encoding must not keep a recording from being read. PyAV has to be asked for that until 18.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


@cache
def _audio_decoders() -> str:
    """Names for ffmpeg's whitelist, so that no video decoder ever sees the file."""
    names = []
    for codec_name in av.codecs_available:
        try:
            codec = av.Codec(codec_name, "r")
        except ValueError:  # it only encodes
            continue
        if codec.type == "audio":
            names.append(codec.name)
    return ",".join(sorted(names))


def _audio_stream(container: InputContainer, name: str) -> av.AudioStream:
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream):
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise AudioError(f"{name} has no audio stream; it holds {held}. Pass a recording with sound.")
    if stream.codec_context is None:
        raise AudioError(f"{name} is encoded in a way that ffmpeg cannot decode. Convert it to FLAC or WAV first.")
    stream.codec_context.options = {"err_detect": "crccheck"}  # else FLAC plays a damaged frame as loud noise
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all  # spares reading the video
    return stream


def _declared_duration(container: InputContainer, stream: av.AudioStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:  # else it may be the video's
        return container.duration / av.time_base
    return None


def _frames(container: InputContainer, stream: av.AudioStream, damage: Damage) -> Iterator[av.AudioFrame]:
    packets = container.demux(stream)
    is_pcm = stream.codec_context.name.startswith("pcm_")
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except _FOREIGN as error:
            damage.stopped = _reason(error)
            break
        if packet.size:  # an empty one would end the decoder before its time
            damage.broken_packets += packet.is_corrupt and not is_pcm  # cut PCM is short, not broken
            yield from _decoded(stream, packet, damage)
    yield from _decoded(stream, None, damage)


def _decoded(stream: av.AudioStream, packet: "av.Packet[Any] | None", damage: Damage) -> list[av.AudioFrame]:
    try:
        frames = stream.codec_context.decode(packet)
    except _FOREIGN as error:
        damage.broken_packets += packet is not None
        damage.last_error = error
        return []
    return [frame for frame in frames if frame.samples]


def _mono(frame: av.AudioFrame, name: str, damage: Damage) -> Samples:
    try:
        pcm = frame_channels(frame)
    except ValueError as error:  # 64-bit integers, which PyAV cannot hand over
        raise AudioError(f"{name}: {error}. Convert it to 32-bit samples first.") from error
    names = [channel.name for channel in frame.layout.channels]
    channels = to_float(pcm)
    if not is_sane(channels):
        damage.broken_packets += 1
        return np.zeros(frame.samples, dtype=np.float32)
    return mix_down(channels, names)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
