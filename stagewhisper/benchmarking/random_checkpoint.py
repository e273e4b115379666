"""A checkpoint of a true shape with random weights: speed needs no training, and nothing has to be fetched.

Weights are scaled so that activations and logits keep the size that trained ones have, with one change: embeddings
of special tokens are close to zero, and so are their logits. Nobody ever ends a window or sets a timestamp, and does
nothing to achieve it.
"""

import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stagewhisper.checkpoint import ModelDims
from stagewhisper.checkpoint.huggingface_documents import write_documents
from stagewhisper.checkpoint.safetensors_writer import write_safetensors
from stagewhisper.checkpoint.sinusoids import sinusoids
from stagewhisper.checkpoint.weight_names import AUDIO_POSITIONS, TOKEN_EMBEDDING, huggingface_name, weight_shapes
from stagewhisper.errors import OptionError, StagewhisperError
from stagewhisper.tokenizer import load_tokenizer

SHAPES: Mapping[str, ModelDims] = {
    "tiny": ModelDims(80, 1500, 384, 6, 4, 51_865, 448, 384, 6, 4),
    "base": ModelDims(80, 1500, 512, 8, 6, 51_865, 448, 512, 8, 6),
    "small": ModelDims(80, 1500, 768, 12, 12, 51_865, 448, 768, 12, 12),
    "large-v3": ModelDims(128, 1500, 1280, 20, 32, 51_866, 448, 1280, 20, 32),
    "large-v3-turbo": ModelDims(128, 1500, 1280, 20, 32, 51_866, 448, 1280, 20, 4),
}
"""openai/whisper's."""

_VERSION = 1
"""Of what is written below; another one makes new checkpoints."""
_SMALL = 0.01


def random_checkpoint(shape: str, *, cache_dir: Path) -> Path:
    """The folder of the random checkpoint of that shape, in Hugging Face's layout and float16; written once.

    Raises:
        OptionError: there is no such shape.
        StagewhisperError: the cache cannot be written.
    """
    if shape not in SHAPES:
        raise OptionError(f"No shape named {shape!r}. Known: {', '.join(SHAPES)}.")
    folder = cache_dir / "benchmarks" / f"random-{shape}-v{_VERSION}"
    if not folder.exists():
        try:
            _write_aside(folder, SHAPES[shape])
        except OSError as error:
            raise StagewhisperError(
                f"Cannot write {folder}: {error.strerror or error}. Make room, or name another --model-dir."
            ) from error
    return folder


def write_random(folder: Path, dims: ModelDims) -> None:
    """Write a random checkpoint of these dims; equal dims give equal weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(dims.n_vocab)
    names = {f"model.{huggingface_name(name)}": name for name in weight_shapes(dims)}
    shapes = {theirs: weight_shapes(dims)[ours] for theirs, ours in names.items()}
    write_safetensors(
        folder / "model.safetensors",
        shapes,
        lambda theirs: _weight(names[theirs], dims, first_special=tokenizer.eot),
        dtype="float16",
    )
    write_documents(folder, dims, tokenizer, dtype="float16", alignment_heads=None)


def _weight(name: str, dims: ModelDims, *, first_special: int) -> np.ndarray:
    if name == AUDIO_POSITIONS:
        return sinusoids(dims.n_audio_ctx, dims.n_audio_state)
    shape = weight_shapes(dims)[name]
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    if len(shape) == 1:
        return np.float32(0.1) * noise + np.float32("ln" in name and name.endswith("weight"))
    scaled: np.ndarray = noise / np.float32(np.sqrt(noise[0].size))
    if name == TOKEN_EMBEDDING:
        scaled[first_special:] *= np.float32(_SMALL)
    return scaled


def _write_aside(folder: Path, dims: ModelDims) -> None:
    unfinished = folder.with_name(f"unfinished-{folder.name}")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    write_random(unfinished, dims)
    unfinished.rename(folder)
