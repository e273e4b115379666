"""Read a file of `torch.save`: a zip of one pickle and the tensors' bytes, none of them compressed.

    NAME/data.pkl     what there is, see pickle_reader.py
    NAME/data/KEY     the elements of one storage
    NAME/byteorder    "little"; absent in old files

Nothing is unpacked: tensors are looked at where they lie in the memory-mapped file.
Source: torch/serialization.py and caffe2/serialize/inline_container.h.
"""

import math
import mmap
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from stagewhisper.checkpoint.pickle_reader import read_pickle
from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.checkpoint.stored_tensor import ITEM_SIZES, StoredTensor, map_file
from stagewhisper.checkpoint.torch_names import Storage
from stagewhisper.errors import CheckpointError

_LARGEST_PICKLE_BYTES = 50_000_000  # large-v3's has about 140,000
_LEGACY_PICKLE_STARTS = (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then the lengths of the name and of the extra field
_ENCRYPTED = 1
_SAVE_AGAIN = 'Save it again with torch.save({"dims": ..., "model_state_dict": ...}, path).'

# What zipfile raises at broken directories: beside its own error, that of whatever it tripped over.
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, OverflowError, ValueError, struct.error)


def read_torch_file(path: Path) -> object:
    """The plain data that was saved, with a StoredTensor for each tensor; no tensor's bytes are read.

    Raises:
        CheckpointError: the file is damaged, hostile, or of a kind that torch.save no longer writes.
    """
    archive = _Archive(path)
    pickle = archive.entry("data.pkl")
    if pickle.file_size > _LARGEST_PICKLE_BYTES:
        raise CheckpointError(
            f"{path}: data.pkl has {pickle.file_size} bytes; expected at most {_LARGEST_PICKLE_BYTES}."
        )
    archive.check_little_endian()
    data = archive.content(pickle)
    if zlib.crc32(data) != pickle.CRC:
        raise CheckpointError(f"{path}: data.pkl does not match its checksum. Fetch the file again.")
    return read_pickle(data, make_tensor=archive.tensor, source=str(path))


class _Archive:
    """The entries of one zip file and the bytes they lie in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._buffer = map_file(path)
        entries = _entries(path, self._buffer)
        self._root = _root(path, entries)
        self._entries = entries

    def entry(self, name: str) -> zipfile.ZipInfo:
        """The entry NAME/`name`.

        Raises:
            CheckpointError: it is missing, compressed or encrypted.
        """
        found = self._entries.get(f"{self._root}/{name}")
        if found is None:
            raise CheckpointError(f"{self._path} lacks the entry {quoted(name)}. Fetch it again.")
        if found.flag_bits & _ENCRYPTED:
            raise CheckpointError(f"{self._path}: the entry {quoted(name)} is encrypted. {_SAVE_AGAIN}")
        if found.compress_type != zipfile.ZIP_STORED or found.compress_size != found.file_size:
            raise CheckpointError(
                f"{self._path}: the entry {quoted(name)} is compressed; torch.save stores entries as they are. "
                f"{_SAVE_AGAIN}"
            )
        return found

    def content(self, entry: zipfile.ZipInfo) -> bytes:
        """A copy of the entry's bytes."""
        start = self._start(entry)
        return self._buffer[start : start + entry.file_size]

    def check_little_endian(self) -> None:
        """Raise CheckpointError if the file says that its numbers are not little-endian."""
        if f"{self._root}/byteorder" in self._entries:
            entry = self.entry("byteorder")
            if entry.file_size != len(b"little") or self.content(entry) != b"little":
                raise CheckpointError(
                    f"{self._path} was not saved in little-endian byte order. Save it again on such a machine."
                )

    def tensor(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> StoredTensor:
        """The tensor on `storage`, all of whose elements lie inside it."""
        item_size = ITEM_SIZES[storage.dtype]
        entry = self.entry(f"data/{storage.key}")
        if entry.file_size != storage.n_elements * item_size:
            raise CheckpointError(
                f"{self._path}: the storage {quoted(storage.key)} has {entry.file_size} bytes; "
                f"expected {storage.n_elements} × {item_size}. Fetch the file again."
            )
        last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
        # The second condition keeps a small file from posing as a huge tensor by steps of 0.
        if 0 not in shape and (last >= storage.n_elements or math.prod(shape) > storage.n_elements):
            raise CheckpointError(
                f"{self._path}: a tensor of shape {quoted(shape)}, strides {quoted(strides)} and offset {offset} "
                f"does not fit its storage of {storage.n_elements} elements. Fetch the file again."
            )
        start = self._start(entry) + offset * item_size
        return StoredTensor(storage.dtype, shape, strides, start, self._buffer)

    def _start(self, entry: zipfile.ZipInfo) -> int:
        header = self._buffer[entry.header_offset : entry.header_offset + _LOCAL_HEADER.size]
        if len(header) == _LOCAL_HEADER.size:
            signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
            start = entry.header_offset + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)
            if signature == b"PK\x03\x04" and start + entry.file_size <= len(self._buffer):
                return start
        raise CheckpointError(
            f"{self._path}: the entry {quoted(entry.filename)} lies outside the file. Fetch it again."
        )


def _entries(path: Path, buffer: mmap.mmap) -> Mapping[str, zipfile.ZipInfo]:
    if buffer[:4] != b"PK\x03\x04":
        if buffer[:8].startswith(_LEGACY_PICKLE_STARTS):
            raise CheckpointError(
                f"{path} is a bare pickle, as torch.save wrote before version 1.6; reading one is not safe. "
                f"{_SAVE_AGAIN}"
            )
        raise CheckpointError(f"{path} is not a file of torch.save. Give an OpenAI .pt file or a model folder.")
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except _ZIP_ERRORS as error:
        raise CheckpointError(
            f"{path} is a damaged zip file, perhaps cut: {quoted(str(error))}. Fetch it again."
        ) from error
    entries = {entry.filename: entry for entry in listed}
    if len(entries) != len(listed):
        raise CheckpointError(f"{path} holds two entries of one name. Get it from its publisher.")
    return entries


def _root(path: Path, entries: Mapping[str, zipfile.ZipInfo]) -> str:
    roots = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1 or "/" in roots[0]:
        raise CheckpointError(
            f"{path} is a zip file with {len(roots)} entries named data.pkl; expected one, "
            f"in one folder, as torch.save writes. {_SAVE_AGAIN}"
        )
    if f"{roots[0]}/constants.pkl" in entries:
        raise CheckpointError(f"{path} is a TorchScript program, not a checkpoint. {_SAVE_AGAIN}")
    return roots[0]
