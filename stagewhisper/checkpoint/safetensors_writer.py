"""Write a safetensors file tensor by tensor, so that a large model never lies in memory as a whole.

Source of the format: https://github.com/huggingface/safetensors, "Format".
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_CODES = {"float32": "F32", "float16": "F16"}
_ALIGNMENT = 8


def write_safetensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], npt.NDArray[Any]], *, dtype: str
) -> None:
    """Write the tensors of these names and shapes, each as `read` gives it, in `dtype`: float32 or float16."""
    item = np.dtype(dtype).itemsize
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in shapes.items():
        end = position + item * math.prod(shape)
        header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            tensor = np.ascontiguousarray(read(name), dtype=np.dtype(dtype).newbyteorder("<"))
            assert tensor.shape == shape, f"{name}: {tensor.shape} was announced as {shape}"  # noqa: S101
            file.write(tensor.tobytes())
