"""Whether a file ends before the byte where it says it does, for the containers where ffmpeg does not tell.

Of a WAV, MP3 or Ogg file ffmpeg takes the length from what is there; the others declare a duration, which
is compared with what was decoded.
"""

import os
import struct

from stagewhisper.audio.mp3_frames import TAIL_BYTES, ends_within_a_frame
from stagewhisper.audio.window import ByteWindow

_WAV_SLACK_BYTES = 64  # some programs count the header in
_WAV_STREAMED_BYTES = 0x7FFF0000  # from here on (and at 0) the writer did not know: sox, arecord, ffmpeg to a pipe
_MP3_SLACK_BYTES = 128  # an ID3v1 tag, counted in and removed since
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255  # the longest page
_MAX_CHUNKS = 1000


def is_cut(window: ByteWindow, format_name: str) -> bool:
    """Whether a file in ffmpeg's format "wav", "mp3" or "ogg" stops too early; False where it does not say.

    Moves the window's position.
    """
    check = {"wav": _is_wav_cut, "mp3": _is_mp3_cut, "ogg": _is_ogg_cut}.get(format_name)
    n_bytes = window.seek(0, os.SEEK_END)
    return check is not None and check(window, n_bytes)


def _is_wav_cut(window: ByteWindow, n_bytes: int) -> bool:
    """The chunk named "data" must fit; chunks are a name, a little-endian size, and an even number of bytes."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        header = _read_at(window, position, 8)
        if len(header) < 8:
            return False
        name, size = struct.unpack("<4sI", header)
        position += 8 + size
        if name == b"data":
            is_stated: bool = 0 < size < _WAV_STREAMED_BYTES
            return is_stated and position > n_bytes + _WAV_SLACK_BYTES
        position += size % 2
    return False


def _is_mp3_cut(window: ByteWindow, n_bytes: int) -> bool:
    """The first frame may state the number of bytes, behind "Xing" or "Info", flags, and the number of frames.

    Where it does not, a cut shows only if it went through a frame.
    """
    start = _id3_bytes(_read_at(window, 0, 10))
    first_frame = _read_at(window, start, 4096)
    for mark in (b"Xing", b"Info"):
        at = first_frame.find(mark)
        if at >= 0 and len(first_frame) >= at + 16:
            flags, n_frames, n_stated = struct.unpack_from(">III", first_frame, at + 4)
            has_frames, has_bytes = flags & 1, flags & 2
            stated = n_stated if has_frames else n_frames
            if has_bytes:
                return bool(start + stated > n_bytes + _MP3_SLACK_BYTES)
    return ends_within_a_frame(_read_at(window, max(0, n_bytes - TAIL_BYTES), TAIL_BYTES))


def _id3_bytes(header: bytes) -> int:
    """Size of the ID3v2 tag that `header` begins, written in 7 bits per byte; 0 where it begins none."""
    if len(header) < 10 or not header.startswith(b"ID3"):
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(header[6:], (21, 14, 7, 0), strict=True))


def _is_ogg_cut(window: ByteWindow, n_bytes: int) -> bool:
    """The last page, whose sizes stand behind its 27-byte header, must end within the file."""
    tail = _read_at(window, max(0, n_bytes - _OGG_PAGE_BYTES), _OGG_PAGE_BYTES)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return 27 + page[26] + sum(page[27 : 27 + page[26]]) > len(page)


def _read_at(window: ByteWindow, position: int, size: int) -> bytes:
    return window.read(size) if window.seek(position) == position else b""
