"""Write files in the layout of `torch.save` with any content, true or hostile."""

import zipfile
from pathlib import Path

import torch

from stagewhisper.checkpoint import ModelDims
from tests.checkpoints import random_dims, random_whisper, save_openai

SMALL = {
    "n_mels": 4,
    "n_audio_ctx": 6,
    "n_audio_state": 8,
    "n_audio_layer": 1,
    "n_vocab": 20,
    "n_text_ctx": 5,
    "n_text_state": 8,
    "n_text_layer": 1,
}


def small_dims(**changes: int) -> ModelDims:
    """A model of about 3,000 parameters, for tests that write many files."""
    return random_dims(**(SMALL | changes))


def save_small(path: Path, **changes: int) -> Path:
    """A random `.pt` of `small_dims`."""
    return save_openai(path, small_dims(**changes), seed=1)


def small_weights(**changes: int) -> dict[str, torch.Tensor]:
    """Random weights of `small_dims` under openai/whisper's names."""
    return dict(random_whisper(small_dims(**changes), seed=1).state_dict())


def save_content(path: Path, weights: dict[str, torch.Tensor], **dims: object) -> Path:
    """A `.pt` with exactly these weights; `dims` replaces numbers of `small_dims`."""
    torch.save({"dims": small_dims().to_dict() | dims, "model_state_dict": weights}, path)
    return path


def write_archive(path: Path, pickle: bytes, *, compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip with `pickle` as its data.pkl and no tensors."""
    return rewrite_archive(path, {"archive/data.pkl": pickle}, compression=compression)


def rewrite_archive(path: Path, entries: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip of just these entries."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def archive_entries(path: Path) -> dict[str, bytes]:
    """All entries of a zip by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
