"""Damage good recordings in many ways, the same for the same seed: what nobody should send, and somebody will."""

import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

Damager = Callable[[bytes, random.Random], bytes]


def damaged_inputs(good_files: Sequence[Path], folder: Path, count: int, seed: int) -> list[Path]:
    """`count` files written to `folder`, each one kind of damage to one of `good_files`; kinds take turns.

    A file is named after its number, the kind, and a file type, which is often the wrong one and always for "misnamed".
    """
    rng = random.Random(seed)
    contents = [path.read_bytes() for path in good_files]
    file_types = sorted({path.suffix for path in good_files})
    kinds = list(KINDS.items())
    paths = []
    for i in range(count):
        kind, damage = kinds[i % len(kinds)]
        which = (i // len(kinds) + i) % len(good_files)  # so that every kind meets every file type in time
        suffix = good_files[which].suffix if rng.random() < 0.7 else rng.choice(file_types)
        if kind == "misnamed":
            suffix = rng.choice([".txt", ".jpg", ".docx", *(each for each in file_types if each != suffix)])
        path = folder / f"{i:04}-{kind}{suffix}"
        path.write_bytes(damage(contents[which], rng))
        paths.append(path)
    return paths


def _unchanged(data: bytes, rng: random.Random) -> bytes:
    return data


def _cut_anywhere(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _cut_in_header(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, min(len(data), 200))]


def _without_beginning(data: bytes, rng: random.Random) -> bytes:
    return data[rng.randrange(1, len(data)) :]


def _with_hole(data: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[:start] + data[end:]


def _flip_bits(data: bytes, rng: random.Random, *, start: int, end: int, count: int) -> bytes:
    flipped = bytearray(data)
    for _ in range(count):
        flipped[rng.randrange(start, min(end, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _flip_anywhere(data: bytes, rng: random.Random) -> bytes:
    return _flip_bits(data, rng, start=0, end=len(data), count=rng.choice([1, 10, 100, 1000]))


def _flip_in_header(data: bytes, rng: random.Random) -> bytes:
    return _flip_bits(data, rng, start=0, end=128, count=rng.choice([1, 2, 5, 20]))


def _flip_behind_header(data: bytes, rng: random.Random) -> bytes:
    return _flip_bits(data, rng, start=len(data) // 2, end=len(data), count=rng.choice([10, 100, 1000]))


def _zero_stretch(data: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[:start] + bytes(end - start) + data[end:]


def _noise_stretch(data: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _huge_sizes(data: bytes, rng: random.Random) -> bytes:
    """Every size and count that the container keeps near a known mark becomes as large as it can be."""
    patched = bytearray(data)
    value = rng.choice([0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFF0, 0x10000000])
    order = rng.choice("<>")
    marks = [b"RIFF", b"fmt ", b"data", b"LIST", b"fLaC", b"ID3", b"Xing", b"Info", b"OggS", b"OpusHead"]
    boxes = [b"ftyp", b"mdat", b"moov", b"trak", b"mdhd", b"stsd", b"stts", b"stsc", b"stsz", b"stco", b"esds"]
    for mark in marks + boxes:
        at = data.find(mark)
        if at < 0 or rng.random() < 0.4:
            continue
        offset = rng.choice([-4, 4, 8, 12, 16]) if mark in boxes else rng.choice([4, 8, 12, 16])
        if 0 <= at + offset <= len(data) - 4:
            struct.pack_into(f"{order}I", patched, at + offset, value)
    return bytes(patched)


def _huge_word(data: bytes, rng: random.Random) -> bytes:
    patched = bytearray(data)
    at = rng.randrange(0, max(1, min(len(data), 400) - 4))
    patched[at : at + 4] = b"\xff" * 4
    return bytes(patched)


def _header_only(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice([4, 12, 16, 42, 44, 64, 78])]


def _header_then_noise(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice([12, 44, 100])] + rng.randbytes(20_000)


def _nested(data: bytes, rng: random.Random) -> bytes:
    """A file in the middle of itself, or behind garbage, as uploads with stray form data are."""
    at = rng.randrange(len(data))
    return rng.choice([data[:at] + data + data[at:], rng.randbytes(3000) + data, data + data[: len(data) // 3]])


def _empty(data: bytes, rng: random.Random) -> bytes:
    return b""


def _zero_bytes(data: bytes, rng: random.Random) -> bytes:
    return bytes(rng.choice([1, 44, 4096, 100_000]))


def _random_bytes(data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([1, 100, 5000, 50_000]))


def _text(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        [
            b"this is not audio\n" * rng.choice([1, 1000]),
            b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
            b'{"error": "access denied"}',
            b"1\n00:00:00,000 --> 00:00:02,000\nA subtitle.\n",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12345\n",
        ]
    )


def _playlist(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        [
            b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n0000.wav\n#EXT-X-ENDLIST\n",
            b"#EXTM3U\n/etc/hostname\n",
            b"ffconcat version 1.0\nfile 0000.wav\n",
            b"[playlist]\nFile1=http://127.0.0.1:9/x.mp3\nNumberOfEntries=1\n",
            b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
            b'<?xml version="1.0"?><MPD type="static"><Period/></MPD>',
        ]
    )


def _image(data: bytes, rng: random.Random) -> bytes:
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff"
    gif += b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9"
    return rng.choice([png, gif, jpeg])


def _archive(data: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"%PDF-1.7\n", b"\x7fELF"]) + data[:2000]


KINDS: dict[str, Damager] = {
    "misnamed": _unchanged,
    "cut": _cut_anywhere,
    "cut-header": _cut_in_header,
    "no-beginning": _without_beginning,
    "hole": _with_hole,
    "flipped": _flip_anywhere,
    "flipped-header": _flip_in_header,
    "flipped-body": _flip_behind_header,
    "zeroed": _zero_stretch,
    "noise": _noise_stretch,
    "huge-sizes": _huge_sizes,
    "huge-word": _huge_word,
    "header-only": _header_only,
    "header-noise": _header_then_noise,
    "nested": _nested,
    "empty": _empty,
    "zero-bytes": _zero_bytes,
    "random-bytes": _random_bytes,
    "text": _text,
    "playlist": _playlist,
    "image": _image,
    "archive": _archive,
}
"""Name → how to damage the content of a good file."""
