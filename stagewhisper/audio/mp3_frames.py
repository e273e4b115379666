"""Where the frames at the end of an MP3 file lie: most of them state no length, but every frame has one.

Source: ISO/IEC 11172-3, 2.4.1.3 and 2.4.2.3; ISO/IEC 13818-3 for the lower rates.
"""

_KBPS_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_MPEG1 = (44100, 48000, 32000)
_RATE_DIVISOR = {3: 1, 2: 2, 0: 4}  # by the version's bits: MPEG-1, MPEG-2, MPEG-2.5
_LAYER_3 = 1
_MIN_CHAIN = 2  # frames in a row that cannot be a coincidence of bytes

TAIL_BYTES = 8192
"""Holds more than `_MIN_CHAIN` frames and a tag, whatever the bit rate: the longest frame has 1,441 bytes."""


def ends_within_a_frame(tail: bytes) -> bool:
    """Whether the last frame in `tail`, the end of an MP3 file, is longer than what is left of the file."""
    if tail[-128:].startswith(b"TAG"):
        tail = tail[:-128]
    for start in range(len(tail)):
        n_frames, end = _chain(tail, start)
        if n_frames > _MIN_CHAIN:
            return end > len(tail)
    return False


def _chain(tail: bytes, start: int) -> tuple[int, int]:
    """How many frames follow one another from `start` on, and where the last one ends."""
    n_frames = 0
    while length := _frame_bytes(tail[start : start + 4]):
        start += length
        n_frames += 1
    return n_frames, start


def _frame_bytes(header: bytes) -> int:
    """Length of the frame with this header; 0 where it is none, or does not tell."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate_index, kbps_index, padding = header[2] >> 2 & 3, header[2] >> 4, header[2] >> 1 & 1
    if version == 1 or layer != _LAYER_3 or rate_index == 3 or kbps_index in (0, 15):
        return 0
    rate = _RATES_MPEG1[rate_index] // _RATE_DIVISOR[version]
    kbps, bytes_per_frame = (_KBPS_MPEG1, 144) if version == 3 else (_KBPS_MPEG2, 72)
    return bytes_per_frame * 1000 * kbps[kbps_index - 1] // rate + padding
