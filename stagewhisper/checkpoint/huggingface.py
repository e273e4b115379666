"""Open a checkpoint folder of Hugging Face transformers."""

from collections.abc import Mapping
from pathlib import Path

from stagewhisper.checkpoint.checkpoint import Checkpoint, checked_weights, main_dtype
from stagewhisper.checkpoint.huggingface_config import CONFIG_FILE, read_alignment_heads, read_config
from stagewhisper.checkpoint.huggingface_files import weight_files
from stagewhisper.checkpoint.openai import named_tensors
from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.checkpoint.safetensors_file import read_safetensors
from stagewhisper.checkpoint.stored_tensor import FLOAT_TYPES, StoredTensor
from stagewhisper.checkpoint.torch_file import read_torch_file
from stagewhisper.checkpoint.unused_tensors import report_unused
from stagewhisper.checkpoint.weight_names import TOKEN_EMBEDDING, huggingface_name, weight_shapes
from stagewhisper.errors import CheckpointError

_OUTPUT_PROJECTION = "proj_out.weight"
_GENERATION_CONFIG_FILE = "generation_config.json"
_TOKENIZER_FILE = "tokenizer.json"


def open_huggingface(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, which holds config.json and weights as safetensors or as torch's `.bin`.

    Raises:
        CheckpointError: a file is missing, damaged or hostile, or the model is not a Whisper that we can run.
    """
    dims = read_config(folder / CONFIG_FILE)
    chosen = weight_files(folder)
    found = _without_model_prefix(folder, _read_all(chosen.tensors))
    for name, file in chosen.promised.items():
        if name.removeprefix("model.") not in found:
            raise CheckpointError(f"{chosen.index} says that {file} holds {quoted(name)}, but it does not.")

    names = {huggingface_name(name): name for name in weight_shapes(dims)}
    weights = checked_weights(folder, dims, {names[name]: tensor for name, tensor in found.items() if name in names})
    _check_tied(folder, found, weights[TOKEN_EMBEDDING])
    report_unused(folder, sorted(found.keys() - names.keys() - {_OUTPUT_PROJECTION}))

    tokenizer_file = _if_present(folder / _TOKENIZER_FILE)
    generation_config = _if_present(folder / _GENERATION_CONFIG_FILE)
    others = (folder / CONFIG_FILE, generation_config, tokenizer_file)
    return Checkpoint(
        dims=dims,
        path=folder,
        files=(*chosen.files, *(file for file in others if file is not None)),
        tokenizer_file=tokenizer_file,
        alignment_heads=None if generation_config is None else read_alignment_heads(generation_config, dims),
        stored_dtype=main_dtype(weights.values()),
        tensors=weights,
    )


def _read_all(files: tuple[Path, ...]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in _read(file).items():
            if name in tensors:
                raise CheckpointError(f"{file} holds the tensor {quoted(name)}, which another shard holds too.")
            tensors[name] = tensor
    return tensors


def _read(file: Path) -> dict[str, StoredTensor]:
    if file.suffix == ".safetensors":
        return read_safetensors(file)
    content = read_torch_file(file)
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds {quoted(content)}; expected a state dict of names and tensors.")
    return named_tensors(file, content)


def _without_model_prefix(folder: Path, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Names as in transformers' WhisperModel; WhisperForConditionalGeneration puts "model." before them."""
    result: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        short = name.removeprefix("model.")
        if short in result:
            raise CheckpointError(f'{folder} holds {quoted(short)} with and without "model." before it.')
        result[short] = tensor
    return result


def _check_tied(folder: Path, found: Mapping[str, StoredTensor], embedding: StoredTensor) -> None:
    projection = found.get(_OUTPUT_PROJECTION)
    if projection is None:
        return
    if projection.dtype not in FLOAT_TYPES or not projection.same_values(embedding):
        raise CheckpointError(
            f"{folder}: {_OUTPUT_PROJECTION} ({projection.dtype}, shape {quoted(projection.shape)}) differs from "
            f"model.decoder.embed_tokens.weight ({embedding.dtype}, shape {embedding.shape}); "
            "expected them equal, since models with an untied output projection are not supported."
        )


def _if_present(file: Path) -> Path | None:
    return file if file.is_file() else None
