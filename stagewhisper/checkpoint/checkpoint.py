"""A checkpoint that was opened: its shape, its files, and its weights on demand."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from stagewhisper.checkpoint.dims import ModelDims
from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.checkpoint.sinusoids import sinusoids
from stagewhisper.checkpoint.stored_tensor import FLOAT_TYPES, StoredTensor, contiguous_strides, forget_pages
from stagewhisper.checkpoint.weight_names import AUDIO_POSITIONS, weight_shapes
from stagewhisper.errors import CheckpointError


@dataclass(frozen=True)
class Checkpoint:
    """A model's weights, memory-mapped: opening it reads headers only, and each weight is read when asked for.

    The files must not be changed in place while it is in use; replacing them by renaming is safe.
    """

    dims: ModelDims
    path: Path
    """What was opened, as it was given."""
    files: tuple[Path, ...]
    """All files whose content defines the result: weights, configuration, tokenizer."""
    tokenizer_file: Path | None
    """The folder's own tokenizer.json."""
    alignment_heads: tuple[tuple[int, int], ...] | None
    """(layer, head) pairs whose cross-attention follows the audio, where the checkpoint names them."""
    stored_dtype: str
    """The type that most weight values have in the file: float16, bfloat16, float32 or float64."""
    tensors: Mapping[str, StoredTensor] = field(repr=False, compare=False)
    """Where each weight lies, by openai/whisper's name."""

    @property
    def weight_names(self) -> tuple[str, ...]:
        """openai/whisper's names of all weights, encoder first."""
        return tuple(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the weight `name` in torch's layout, without reading it.

        Raises:
            CheckpointError: the model has no such weight.
        """
        return self._tensor(name).shape

    def weight(self, name: str) -> Float32[np.ndarray, "..."]:
        """The weight `name` as C-contiguous, read-only float32 in torch's layout ([out, in]).

        Raises:
            CheckpointError: the model has no such weight.
        """
        return self._tensor(name).read()

    def forget_pages(self) -> None:
        """Let the system have back the memory of weights that were read; arrays that are in use stay as they are."""
        for buffer in {id(tensor.buffer): tensor.buffer for tensor in self.tensors.values()}.values():
            forget_pages(buffer)

    def _tensor(self, name: str) -> StoredTensor:
        tensor = self.tensors.get(name)
        if tensor is None:
            raise CheckpointError(
                f"{self.path} has no weight named {quoted(name)}. Names are openai/whisper's, "
                f"such as {next(iter(self.tensors))}."
            )
        return tensor


def checked_weights(path: Path, dims: ModelDims, found: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The weights of a model with these dims, chosen from `found`; missing audio positions are computed.

    Raises:
        CheckpointError: a weight is missing, has another shape, is not of floats, or shares its bytes with others.
    """
    shapes = weight_shapes(dims)
    weights: dict[str, StoredTensor] = {}
    for name, shape in shapes.items():
        if name == AUDIO_POSITIONS and name not in found:
            weights[name] = _computed_positions(dims)
        else:
            _check_weight(path, name, shape, found.get(name))
            weights[name] = found[name]
    _check_distinct(path, weights)
    return weights


def main_dtype(weights: Iterable[StoredTensor]) -> str:
    """The element type that takes most bytes."""
    n_bytes: Counter[str] = Counter()
    for tensor in weights:
        n_bytes[tensor.dtype] += tensor.n_bytes
    return max(n_bytes, key=n_bytes.__getitem__)


def _check_weight(path: Path, name: str, shape: tuple[int, ...], tensor: StoredTensor | None) -> None:
    if tensor is None:
        raise CheckpointError(f"{path} lacks the tensor {name} of shape {shape}. Is it a complete Whisper model?")
    if tensor.shape != shape:
        raise CheckpointError(
            f"{path}: the tensor {name} has shape {quoted(tensor.shape)}; expected {shape} by the model's dims."
        )
    if tensor.dtype not in FLOAT_TYPES:
        raise CheckpointError(
            f"{path}: the tensor {name} is of {tensor.dtype}; expected one of {', '.join(FLOAT_TYPES)}. "
            "Quantised checkpoints are not supported."
        )


def _check_distinct(path: Path, weights: Mapping[str, StoredTensor]) -> None:
    """Refuse a small file that poses as a huge model by showing the same bytes under many names."""
    buffers = {id(tensor.buffer): tensor.buffer for tensor in weights.values()}
    stored, claimed = (
        sum(len(buffer) for buffer in buffers.values()),
        sum(tensor.n_bytes for tensor in weights.values()),
    )
    if claimed > stored:
        raise CheckpointError(
            f"{path}: the weights claim {claimed} bytes, but its files hold {stored}: several share their bytes. "
            "Expected each weight stored once."
        )


def _computed_positions(dims: ModelDims) -> StoredTensor:
    values = sinusoids(dims.n_audio_ctx, dims.n_audio_state).astype("<f4")
    return StoredTensor("float32", values.shape, contiguous_strides(values.shape), 0, values.tobytes())
