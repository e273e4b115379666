"""Whatever happens to a file, loading it gives a checkpoint or a CheckpointError."""

import random
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.checkpoint.pickle_reader import read_pickle
from stagewhisper.errors import CheckpointError
from tests.checkpoint.torch_archives import archive_entries, save_small, small_dims
from tests.checkpoints import save_huggingface


def _flipped(data: bytes, chance: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        result[chance.randrange(len(result))] = chance.randrange(256)
    return bytes(result)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _shuffled(data: bytes, chance: random.Random) -> bytes:
    """A piece of the file written over another one."""
    length = chance.randrange(1, 64)
    source, target = chance.randrange(len(data)), chance.randrange(len(data))
    return data[:target] + data[source : source + length] + data[target + length :]


Damage = Callable[[bytes, random.Random], bytes]
DAMAGES: list[Damage] = [_flipped, _cut, _shuffled]


def _n_refused(path: Path, file: Path, damage: Damage, n_times: int) -> int:
    original = file.read_bytes()
    messages = []
    for seed in range(n_times):
        file.write_bytes(damage(original, random.Random(seed)))
        try:
            checkpoint = load_checkpoint(path)
            for name in checkpoint.weight_names:
                checkpoint.weight(name)
        except CheckpointError as error:
            messages.append(str(error))
    assert all(str(path) in message for message in messages)
    return len(messages)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_openai_file_loads_or_is_refused(tmp_path, damage):
    path = save_small(tmp_path / "x.pt")
    assert _n_refused(path, path, damage, 60) > 10


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_folder_loads_or_is_refused(tmp_path, damage, name):
    folder = save_huggingface(tmp_path / "hf", save_small(tmp_path / "x.pt"))
    assert _n_refused(folder, folder / name, damage, 60) > 10


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pickle_is_read_or_refused(tmp_path, damage):
    weights = OrderedDict(small=torch.zeros(2), large=torch.nn.Parameter(torch.zeros(3, 4)))
    weights._metadata = OrderedDict(version=1)  # type: ignore[attr-defined]
    torch.save({"dims": small_dims().to_dict(), "model_state_dict": weights}, tmp_path / "x.pt")
    original = archive_entries(tmp_path / "x.pt")["x/data.pkl"]
    n_refused = 0
    for seed in range(400):
        try:
            read_pickle(damage(original, random.Random(seed)), make_tensor=lambda *_: object(), source="x.pt")
        except CheckpointError:
            n_refused += 1
    assert n_refused > 100
