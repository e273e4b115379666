"""A training on disk: `state.pt`, which it goes on from, and `inventory.json`, which says what its rows stand for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from stagewhisper.atomic import writing_atomically
from stagewhisper.errors import CheckpointError
from training.model import Nano, Shape
from training.vocabulary import CompactVocabulary


def new_model(shape: Shape, vocabulary: CompactVocabulary, phoneme_ids: Mapping[str, int]) -> Nano:
    """A model with random weights whose tables fit the vocabulary and the phonemes."""
    return Nano(shape, n_used=vocabulary.n_used, n_unused=vocabulary.n_unused, n_phonemes=len(phoneme_ids))


def write_inventory(folder: Path, shape: Shape, vocabulary: CompactVocabulary, phoneme_ids: Mapping[str, int]) -> None:
    """Write what the rows of the state's tables stand for."""
    inventory = {"used_tokens": vocabulary.used_tokens, "phonemes": phoneme_ids, "shape": asdict(shape)}
    with writing_atomically(folder / "inventory.json") as file:
        json.dump(inventory, file)


def save_state(folder: Path, model: Nano, optimizers: Sequence[torch.optim.Optimizer], step: int) -> None:
    """Write everything that a training needs in order to go on with `step`."""
    state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "step": step}
    torch.save(state, folder / "state.partial")
    (folder / "state.partial").replace(folder / "state.pt")


def resume(
    folder: Path,
    model: Nano,
    optimizers: Sequence[torch.optim.Optimizer],
    vocabulary: CompactVocabulary,
    phoneme_ids: Mapping[str, int],
) -> int:
    """Fill `model` and `optimizers` with what `save_state` wrote, if it did; the step to go on with.

    Raises:
        CheckpointError: what was trained there has another shape, other tokens or other phonemes.
    """
    if not (folder / "state.pt").exists():
        return 0
    require_same(folder, model.shape, vocabulary, phoneme_ids)
    state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def require_same(folder: Path, shape: Shape, vocabulary: CompactVocabulary, phoneme_ids: Mapping[str, int]) -> None:
    """Refuse the state in `folder` if its inventory tells another shape, or other rows of its tables.

    The tensors alone would not show it: cut into 2 heads or into 4, their sizes are the same, and as many tokens or
    phonemes in another order would be taken for each other.

    Raises:
        CheckpointError: they differ, or there is no inventory.
    """
    state = folder / "state.pt"
    try:
        trained = json.loads((folder / "inventory.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"What the rows of {state} stand for is not known: {folder / 'inventory.json'} cannot be read ({error})."
        ) from error
    if trained["shape"] != asdict(shape):
        raise CheckpointError(
            f"{state} has the shape {trained['shape']}, the model to train {asdict(shape)}. "
            "Give the width and layers that it was trained with, or another folder with --run."
        )
    rows = {
        "tokens": (trained["used_tokens"], list(vocabulary.used_tokens)),
        "phonemes": (trained["phonemes"], dict(phoneme_ids)),
    }
    for what, (theirs, ours) in rows.items():
        if theirs != ours:
            raise CheckpointError(
                f"{state} was trained with other {what} than the corpus has now: {len(theirs)}, and now {len(ours)}, "
                f"{len(set(theirs) ^ set(ours))} of them in one of the two alone. Bring back the corpus that it was "
                "trained on, or begin anew with --run; a checkpoint's folder with --start-from fits any corpus."
            )


def load_model(folder: Path) -> tuple[Nano, CompactVocabulary, dict[str, int]]:
    """The trained model, its vocabulary, and the row of each phoneme.

    Raises:
        CheckpointError: nothing was trained there.
    """
    if not (folder / "state.pt").exists():
        raise CheckpointError(f"No trained state in {folder}. `python -m training.train` writes one.")
    inventory = json.loads((folder / "inventory.json").read_text(encoding="utf-8"))
    vocabulary = CompactVocabulary(inventory["used_tokens"])
    model = new_model(Shape(**inventory["shape"]), vocabulary, inventory["phonemes"])
    model.load_state_dict(torch.load(folder / "state.pt", weights_only=True, map_location="cpu")["model"])
    return model.eval(), vocabulary, inventory["phonemes"]
