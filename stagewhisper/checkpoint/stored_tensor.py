"""One tensor as it lies in a memory-mapped file."""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from stagewhisper.errors import CheckpointError

ITEM_SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""Bytes per element of the types that files may name; only the floats can be weights."""

# Both file formats store little-endian numbers; NumPy has no bfloat16, so its bits are read as integers.
_NUMPY_TYPES = {"float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}

FLOAT_TYPES = tuple(_NUMPY_TYPES)
"""The element types that a weight may have."""

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies; its reader has checked that every element lies inside `buffer`."""

    dtype: str
    """One of ITEM_SIZES."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Elements from one index to the next, per axis."""
    offset: int
    """Bytes from the start of `buffer` to the first element."""
    buffer: mmap.mmap | bytes = field(repr=False, compare=False)

    @property
    def n_bytes(self) -> int:
        """Bytes that the elements take, each counted once."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]

    def read(self) -> Float32[np.ndarray, "..."]:
        """The values as float32, C-contiguous and read-only; a view of the file where it stores just that."""
        return _as_float32(self._view())

    def same_values(self, other: "StoredTensor") -> bool:
        """Whether both tensors hold equal numbers; compared in parts, so that little memory is used."""
        if self.shape != other.shape:
            return False
        if self == other and self.buffer is other.buffer:
            return True
        pairs = zip(self._row_blocks(), other._row_blocks(), strict=True)
        return all(np.array_equal(mine, theirs, equal_nan=True) for mine, theirs in pairs)

    def _row_blocks(self) -> Iterator[Float32[np.ndarray, "..."]]:
        view = self._view()
        for start in range(0, len(view), _ROWS_AT_ONCE):
            yield _as_float32(view[start : start + _ROWS_AT_ONCE])

    def _view(self) -> np.ndarray:
        strides = [step * ITEM_SIZES[self.dtype] for step in self.strides]
        return np.ndarray(self.shape, _NUMPY_TYPES[self.dtype], self.buffer, self.offset, strides)


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a C-contiguous tensor, in elements."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def map_file(path: Path) -> mmap.mmap:
    """The file's bytes, read from disk only where they are looked at.

    Raises:
        CheckpointError: the file is missing, unreadable or empty.
    """
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is empty. Fetch it again.") from error


def forget_pages(buffer: mmap.mmap | bytes) -> None:
    """Let the system have back the memory of what was read of a mapped file; whoever looks again reads it again.

    Does nothing where the system has no such call.
    """
    if isinstance(buffer, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED)


def _as_float32(values: np.ndarray) -> Float32[np.ndarray, "..."]:
    if values.dtype.kind == "u":  # a bfloat16 is the upper half of a float32: widening it is exact
        floats = np.left_shift(values.astype(np.uint32, order="C"), np.uint32(16)).view(np.float32)
    else:
        # A float64 beyond float32's range becomes an infinity, as it does in torch: no reason to warn.
        with np.errstate(over="ignore", invalid="ignore"):
            floats = np.require(values, np.float32, ["C", "A"])
    floats.flags.writeable = False
    return floats
