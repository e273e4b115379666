"""Which files of a Hugging Face folder hold its weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stagewhisper.checkpoint.json_object import read_json_object
from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.errors import CheckpointError

# In order of preference; transformers' names (WEIGHTS_NAME and its like in utils/__init__.py).
_WHOLE_OR_INDEX = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What transformers' Trainer leaves beside the weights.
_NOT_WEIGHTS = {"training_args.bin", "optimizer.bin", "scheduler.bin"}
_SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(safetensors|bin)")
_MOST_SHARDS = 1000


@dataclass(frozen=True)
class WeightFiles:
    """The files to read tensors from."""

    tensors: tuple[Path, ...]
    index: Path | None
    promised: Mapping[str, str]
    """The shard that the index gives for each tensor; empty without an index."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that decide on the weights, the index last."""
        return self.tensors if self.index is None else (*self.tensors, self.index)


def weight_files(folder: Path) -> WeightFiles:
    """The folder's weights: safetensors before torch's files, one file before shards.

    Raises:
        CheckpointError: there are none, or the index is broken or leads out of the folder.
    """
    for name in _WHOLE_OR_INDEX:
        path = folder / name
        if path.is_file():
            return _shards(path) if name.endswith(".json") else WeightFiles((path,), None, {})
    others = sorted(path for path in folder.glob("*.bin") if path.name not in _NOT_WEIGHTS)
    if len(others) == 1:
        return WeightFiles((others[0],), None, {})
    raise CheckpointError(
        f"{folder} holds no weights: expected {', '.join(_WHOLE_OR_INDEX)}, or a single other .bin file. "
        "Fetch the model again."
    )


def _shards(index: Path) -> WeightFiles:
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: weight_map is {quoted(weight_map)}; expected an object of tensors and shards.")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _SHARD_NAME.fullmatch(shard):
            raise CheckpointError(
                f"{index}: weight_map gives {quoted(shard)} for {quoted(name)}; "
                "expected the name of a .safetensors or .bin file in the same folder."
            )
    shards = sorted(set(weight_map.values()))
    if len(shards) > _MOST_SHARDS:
        raise CheckpointError(f"{index}: weight_map names {len(shards)} shards; expected at most {_MOST_SHARDS}.")
    for shard in shards:
        if not (index.parent / shard).is_file():
            raise CheckpointError(f"{index} names the shard {shard}, which is not there. Fetch the model again.")
    return WeightFiles(tuple(index.parent / shard for shard in shards), index, weight_map)
