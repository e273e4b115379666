"""Weights of a mapped file are views, and the memory that looking at them took can be given back."""

from pathlib import Path

import numpy as np
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.checkpoint.stored_tensor import StoredTensor, forget_pages, map_file
from tests.checkpoints import random_dims, save_openai

STATUS = Path("/proc/self/status")
N_MB = 48


def mapped_kb() -> int:
    """Memory of this process that mapped files take."""
    (line,) = [line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("RssFile")]
    return int(line.split()[1])


def test_forgotten_weights_are_read_again(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(save_openai(tmp_path / "x.pt", random_dims(n_vocab=300)))
    before = {name: checkpoint.weight(name) for name in checkpoint.weight_names}
    copies = {name: array.copy() for name, array in before.items()}
    checkpoint.forget_pages()
    for name, array in before.items():
        np.testing.assert_array_equal(array, copies[name])
        np.testing.assert_array_equal(checkpoint.weight(name), copies[name])


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux says how much memory mapped files take")
def test_forgetting_gives_memory_back(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(np.arange(N_MB << 18, dtype=np.float32).tobytes())
    tensor = StoredTensor("float32", (N_MB << 18,), (1,), 0, map_file(path))
    assert tensor.read().max() == (N_MB << 18) - 1
    full = mapped_kb()
    forget_pages(tensor.buffer)
    assert full - mapped_kb() > N_MB * 1000
    assert tensor.read()[1] == 1


def test_bytes_in_memory_have_no_pages_to_forget() -> None:
    tensor = StoredTensor("float32", (2,), (1,), 0, np.asarray([1, 2], np.float32).tobytes())
    forget_pages(tensor.buffer)
    assert tensor.read().tolist() == [1, 2]
