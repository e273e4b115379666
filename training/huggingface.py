"""A trained checkpoint in Hugging Face's layout: what transformers, and faster-whisper's converter, read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from stagewhisper.checkpoint import ModelDims
from stagewhisper.checkpoint.huggingface_documents import write_documents
from stagewhisper.checkpoint.weight_names import huggingface_name
from stagewhisper.tokenizer import Tokenizer
from training.model import Shape


def save_huggingface(
    folder: Path,
    shape: Shape,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    *,
    alignment_heads: Sequence[tuple[int, int]] | None,
) -> None:
    """Write `weights`, which have openai/whisper's names and all one type, and all that belongs to them."""
    folder.mkdir(parents=True, exist_ok=True)
    renamed = {f"model.{huggingface_name(name)}": tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    dims = ModelDims(**vars(shape), n_vocab=tokenizer.n_vocab)
    write_documents(folder, dims, tokenizer, dtype=_only_dtype(weights), alignment_heads=alignment_heads)


def _only_dtype(weights: Mapping[str, Tensor]) -> str:
    (dtype,) = {tensor.dtype for tensor in weights.values()}
    return str(dtype).removeprefix("torch.")
