"""Read a safetensors file: a JSON header of names, types, shapes and offsets, then the bytes.

Our own reader because the library's NumPy binding has no bfloat16.
Source of the format: https://github.com/huggingface/safetensors, "Format".
"""

import math
import mmap
from pathlib import Path

from stagewhisper.checkpoint.json_object import parse_json_object
from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.checkpoint.stored_tensor import ITEM_SIZES, StoredTensor, contiguous_strides, map_file
from stagewhisper.errors import CheckpointError

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_LENGTH_BYTES = 8
_LARGEST_HEADER_BYTES = 10_000_000  # large-v3's has about 150,000
_MOST_AXES = 8


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """All tensors of the file by name; only the header is read.

    Raises:
        CheckpointError: the file is cut, or its header is broken or lies about the bytes that follow.
    """
    buffer = map_file(path)
    header, data_start = _header(path, buffer)
    header.pop("__metadata__", None)
    tensors = {name: _tensor(path, name, entry, buffer, data_start) for name, entry in header.items()}
    _check_layout(path, tensors, data_start, len(buffer))
    return tensors


def _header(path: Path, buffer: mmap.mmap) -> tuple[dict[str, object], int]:
    n_bytes = int.from_bytes(buffer[:_LENGTH_BYTES], "little")
    data_start = _LENGTH_BYTES + n_bytes
    if len(buffer) < _LENGTH_BYTES or data_start > len(buffer) or n_bytes > _LARGEST_HEADER_BYTES:
        raise CheckpointError(
            f"{path} is not a safetensors file, or is cut: it announces a header of {n_bytes} bytes and has "
            f"{len(buffer)} bytes in all (headers above {_LARGEST_HEADER_BYTES} are refused). Fetch it again."
        )
    return parse_json_object(path, buffer[_LENGTH_BYTES:data_start]), data_start


def _tensor(path: Path, name: str, entry: object, buffer: mmap.mmap, data_start: int) -> StoredTensor:
    if not isinstance(entry, dict):
        raise CheckpointError(f"{path}: the header's entry {quoted(name)} is {quoted(entry)}; expected an object.")
    dtype = _TYPES.get(str(entry.get("dtype")))
    if dtype is None:
        raise CheckpointError(
            f"{path}: the tensor {quoted(name)} has type {quoted(entry.get('dtype'))}; "
            f"expected one of {', '.join(_TYPES)}."
        )
    shape = _whole_numbers(path, name, entry, "shape")
    begin, end = _offsets(path, name, entry)
    n_bytes = math.prod(shape) * ITEM_SIZES[dtype]
    if end - begin != n_bytes:
        raise CheckpointError(
            f"{path}: the tensor {quoted(name)} of type {dtype} and shape {quoted(shape)} needs {quoted(n_bytes)} "
            f"bytes, but its offsets {quoted((begin, end))} hold {quoted(end - begin)}."
        )
    return StoredTensor(dtype, shape, contiguous_strides(shape), data_start + begin, buffer)


def _whole_numbers(path: Path, name: str, entry: dict[str, object], key: str) -> tuple[int, ...]:
    numbers = entry.get(key)
    if not (
        isinstance(numbers, list)
        and len(numbers) <= _MOST_AXES
        and all(type(number) is int and 0 <= number < 2**63 for number in numbers)
    ):
        raise CheckpointError(
            f"{path}: the tensor {quoted(name)} has the {key} {quoted(numbers)}; "
            f"expected at most {_MOST_AXES} whole numbers."
        )
    return tuple(numbers)


def _offsets(path: Path, name: str, entry: dict[str, object]) -> tuple[int, int]:
    offsets = _whole_numbers(path, name, entry, "data_offsets")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(
            f"{path}: the tensor {quoted(name)} has the data_offsets {quoted(offsets)}; "
            "expected where it begins and where it ends."
        )
    return offsets[0], offsets[1]


def _check_layout(path: Path, tensors: dict[str, StoredTensor], data_start: int, file_bytes: int) -> None:
    """The format wants the tensors side by side from the header to the end, without gap or overlap."""
    position = data_start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].n_bytes)):
        if tensor.offset != position:
            problem = "overlaps the tensor before it" if tensor.offset < position else "follows a gap"
            raise CheckpointError(f"{path}: the tensor {quoted(name)} {problem}. Fetch the file again.")
        position += tensor.n_bytes
    if position != file_bytes:
        raise CheckpointError(
            f"{path} has {file_bytes} bytes where its header describes {position}: it was cut or damaged. "
            "Fetch it again."
        )
