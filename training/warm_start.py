"""A training's first weights from a checkpoint that was trained before: what export did, undone.

The teaching heads are not in a checkpoint, and begin anew; they take a few hundred steps to catch up. A token that the
checkpoint never used begins with the shared row.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.errors import CheckpointError
from training.model import Nano, sinusoids
from training.run_folder import require_same
from training.vocabulary import N_TIMESTAMPS, N_VOCAB, CompactVocabulary

_TABLE = "decoder.token_embedding.weight"


def start_from(path: Path, model: Nano, vocabulary: CompactVocabulary, phoneme_ids: Mapping[str, int]) -> None:
    """Fill `model` with the weights of a `state.pt`, or of a checkpoint's folder such as the package's own nano.

    Raises:
        CheckpointError: the folder holds no checkpoint, or one of another shape; or so does the state, or one with
            other tokens or phonemes.
    """
    if path.is_dir():
        _fill(model, load_checkpoint(path), vocabulary)
    else:
        require_same(path.parent, model.shape, vocabulary, phoneme_ids)
        model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["model"])


@torch.no_grad()
def _fill(model: Nano, checkpoint: Checkpoint, vocabulary: CompactVocabulary) -> None:
    trained = {name: value for name, value in checkpoint.dims.to_dict().items() if name != "n_vocab"}
    if trained != vars(model.shape) or checkpoint.dims.n_vocab != N_VOCAB:
        raise CheckpointError(f"{checkpoint.path} has the shape {trained}, the model to train {vars(model.shape)}.")
    weights = {name: torch.from_numpy(checkpoint.weight(name).copy()) for name in checkpoint.weight_names}
    table = weights.pop(_TABLE)
    weight, bias = timestamp_map(table[N_VOCAB - N_TIMESTAMPS :])
    weights |= {
        "decoder.used": table[list(vocabulary.used_tokens)],
        "decoder.never": _shared_row(table[: N_VOCAB - N_TIMESTAMPS]),
        "decoder.timestamp.weight": weight,
        "decoder.timestamp.bias": bias,
    }
    model.load_state_dict(weights, strict=False)


def timestamp_map(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The weight and bias that come nearest to the timestamps' rows, "n_timestamps n_state"."""
    positions = sinusoids(N_TIMESTAMPS, rows.shape[1]).double()
    inputs = torch.cat([positions, torch.ones(N_TIMESTAMPS, 1, dtype=torch.float64)], dim=1)
    # By singular values: the slowest sinusoids are nearly constant, and the system has no unique solution.
    solution: Tensor = torch.linalg.lstsq(inputs, rows.double(), driver="gelsd").solution.float()
    return solution[:-1].T.contiguous(), solution[-1].contiguous()


def _shared_row(table: Tensor) -> Tensor:
    """The row that occurs most often: that of all tokens which were never used."""
    rows, counts = torch.unique(table, dim=0, return_counts=True)
    most_frequent: Tensor = rows[counts.argmax()]
    return most_frequent[None]
