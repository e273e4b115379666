"""Open a checkpoint in OpenAI's `.pt` format: {"dims": {...}, "model_state_dict": {...}}."""

from pathlib import Path

from stagewhisper.checkpoint.checkpoint import Checkpoint, checked_weights, main_dtype
from stagewhisper.checkpoint.dims import ModelDims
from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.checkpoint.stored_tensor import StoredTensor
from stagewhisper.checkpoint.torch_file import read_torch_file
from stagewhisper.checkpoint.unused_tensors import report_unused
from stagewhisper.errors import CheckpointError

_KEYS = ("dims", "model_state_dict")
_MASK = "decoder.mask"  # the causal mask, which openai/whisper's first releases saved with the weights


def open_openai(path: Path, *, pt_file: Path, tokenizer_file: Path | None) -> Checkpoint:
    """The checkpoint in `pt_file`; `path` is what the user gave, the file itself or its folder.

    Raises:
        CheckpointError: the file is damaged or hostile, or its content is not a Whisper model.
    """
    content = read_torch_file(pt_file)
    dims = _dims(pt_file, _part(pt_file, content, "dims"))
    found = named_tensors(pt_file, _part(pt_file, content, "model_state_dict"))
    weights = checked_weights(pt_file, dims, found)
    report_unused(pt_file, sorted(found.keys() - weights.keys() - {_MASK}))
    return Checkpoint(
        dims=dims,
        path=path,
        files=(pt_file,) if tokenizer_file is None else (pt_file, tokenizer_file),
        tokenizer_file=tokenizer_file,
        alignment_heads=None,
        stored_dtype=main_dtype(weights.values()),
        tensors=weights,
    )


def named_tensors(path: Path, state_dict: dict[object, object]) -> dict[str, StoredTensor]:
    """The state dict, all of whose values are tensors.

    Raises:
        CheckpointError: a key is not a string or a value not a tensor.
    """
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in state_dict.items():
        if not isinstance(name, str) or not isinstance(tensor, StoredTensor):
            raise CheckpointError(
                f"{path}: the state dict holds {quoted(name)}: {quoted(tensor)}; expected names and tensors only."
            )
        tensors[name] = tensor
    return tensors


def _part(path: Path, content: object, key: str) -> dict[object, object]:
    part = content.get(key) if isinstance(content, dict) else None
    if not isinstance(part, dict):
        shown = quoted(list(content)) if isinstance(content, dict) else quoted(content)
        raise CheckpointError(
            f"{path} holds {shown}; expected a dict with {' and '.join(_KEYS)}, as openai/whisper's checkpoints. "
            "If it comes from transformers, give its folder with config.json."
        )
    return part


def _dims(path: Path, numbers: dict[object, object]) -> ModelDims:
    try:
        return ModelDims.from_dict({str(name): value for name, value in numbers.items()})
    except CheckpointError as error:
        raise CheckpointError(f'{path}, "dims": {error}') from error
