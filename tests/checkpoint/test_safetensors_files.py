import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stagewhisper.checkpoint.safetensors_file import read_safetensors
from stagewhisper.errors import CheckpointError


def _write(path: Path, header: object, n_data_bytes: int = 0) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * n_data_bytes)
    return path


def _entry(begin: object = 0, end: object = 8, **changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [begin, end]} | changes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_what_the_library_writes_is_read_exactly(tmp_path, dtype):
    bits = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)
    values = bits.view(dtype) if dtype.itemsize == 2 else torch.randn(256, 256, dtype=dtype)
    tensors = {"a": values, "b": torch.ones(3, dtype=dtype), "c": torch.zeros(0, 2, dtype=dtype)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    read = read_safetensors(tmp_path / "x.safetensors")
    assert set(read) == {"a", "b", "c"}
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name].read(), tensor.float().numpy())


def test_types_that_cannot_be_weights_are_listed_but_not_in_the_way(tmp_path):
    save_file({"step": torch.tensor(7), "mask": torch.ones(3, dtype=torch.bool)}, tmp_path / "x.safetensors")
    read = read_safetensors(tmp_path / "x.safetensors")
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in read.items()} == {
        "step": ("int64", ()),
        "mask": ("bool", (3,)),
    }


@pytest.mark.parametrize(
    ("header", "n_data_bytes", "reason"),
    [
        ({"a": _entry()}, 7, "has .* bytes where its header describes"),
        ({"a": _entry()}, 9, "has .* bytes where its header describes"),
        ({"a": _entry(0, 2**40)}, 8, "needs 8 bytes, but its offsets .* hold 1099511627776"),
        ({"a": _entry(2**62, 2**62 + 8)}, 8, "follows a gap"),
        ({"a": _entry(), "b": _entry(4, 12)}, 12, "'b' overlaps"),
        ({"a": _entry(), "b": _entry()}, 8, "overlaps"),
        ({"a": _entry(), "b": _entry(12, 20)}, 20, "'b' follows a gap"),
        ({"a": _entry(8, 0)}, 8, "expected where it begins"),
        ({"a": _entry(-8, 0)}, 8, "data_offsets"),
        ({"a": _entry(0.0, 8.0)}, 8, "data_offsets"),
        ({"a": _entry(False, 8)}, 8, "data_offsets"),
        ({"a": _entry(data_offsets=[0])}, 8, "data_offsets"),
        ({"a": _entry(data_offsets=None)}, 8, "data_offsets"),
        ({"a": _entry(shape=[-2])}, 8, r"the shape \[-2\]"),
        ({"a": _entry(shape=[3])}, 8, "needs 12 bytes"),
        ({"a": _entry(shape=[2**62, 2**62, 2**62])}, 8, "needs .* bytes"),
        ({"a": _entry(shape=[1] * 100)}, 8, "at most 8 whole numbers"),
        ({"a": _entry(shape="2")}, 8, "the shape '2'"),
        ({"a": _entry(dtype="F8_E4M3")}, 8, "type 'F8_E4M3'; expected one of F64, F32"),
        ({"a": _entry(dtype=["F32"])}, 8, "expected one of F64"),
        ({"a": 5}, 0, "'a' is 5; expected an object"),
        ([], 0, r"the JSON \[\]; expected an object"),
        (b'{"a": 1, "a": 2}', 0, "key 'a' appears twice"),
        (b"{", 0, "broken JSON"),
        (b"\xff\xfe", 0, "broken JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", 0, "broken JSON"),
        (b"[" * 200_000, 0, "nested too deep|broken JSON"),
        (b'{"a":' * 200_000, 0, "nested too deep|broken JSON"),
        (json.dumps({"\ud800" * 5000: 1}).encode(), 0, "expected an object"),
    ],
)
def test_a_header_that_lies_is_refused_with_its_reason(tmp_path, header, n_data_bytes, reason):
    path = _write(tmp_path / "x.safetensors", header, n_data_bytes)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_safetensors(path)
    assert len(str(caught.value)) < 1000
    str(caught.value).encode()  # a name that is no text must not break the terminal


@pytest.mark.parametrize("announced", [100, 10_000_001, 2**32, 2**63, 2**64 - 1])
def test_a_huge_header_length_is_refused_at_once(tmp_path, announced):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", announced) + b"{}")
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=f"announces a header of {announced} bytes"):
        read_safetensors(path)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("n_bytes", [0, 1, 7, 8])
def test_a_file_shorter_than_any_header_is_refused(tmp_path, n_bytes):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\x02" * n_bytes)
    with pytest.raises(CheckpointError, match=r"is empty|is cut"):
        read_safetensors(path)
