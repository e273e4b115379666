"""Which cross-attention heads follow the words: found by measuring all of them against known word times."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.corpus import Utterance
from training.model import Nano
from training.vocabulary import CompactVocabulary
from training.windows import Kind, Windows

_WINDOW = Kind(30, 8, 6, whole=True)
_N_BATCHES = 4


def find_alignment_heads(
    model: Nano, vocabulary: CompactVocabulary, phoneme_ids: dict[str, int], utterances: Sequence[Utterance]
) -> list[tuple[int, int]]:
    """(layer, head) of every head that puts nearly as much attention on the right word as the best one does."""
    scores = score_heads(model, vocabulary, phoneme_ids, utterances)
    for layer, row in enumerate(scores.tolist()):
        print(f"layer {layer}: " + " ".join(f"{share:.3f}" for share in row))
    good = scores >= 0.85 * scores.max()
    return [(int(layer), int(head)) for layer, head in good.nonzero()]


@torch.no_grad()
def score_heads(
    model: Nano, vocabulary: CompactVocabulary, phoneme_ids: dict[str, int], utterances: Sequence[Utterance]
) -> Tensor:
    """ "n_layers n_heads": the mean share of attention that falls on the word being written."""
    from training.recordings import noise_utterances

    source = utterances[0].about.source
    languages = sorted({utterance.about.language for utterance in utterances})
    weights = {(language, source): 1.0 for language in languages}
    windows = Windows([*utterances, *noise_utterances(3)], weights, vocabulary, phoneme_ids, seed=9)
    totals = torch.zeros(model.shape.n_text_layer, model.shape.n_text_head)
    for _ in range(_N_BATCHES):
        batch = windows.batch(_WINDOW)
        weights_by_layer = model.cross_attention(batch.mel, batch.offsets, batch.tokens)
        positions = torch.arange(weights_by_layer.shape[-1])
        inside = (positions >= batch.focus[..., :1]) & (positions <= batch.focus[..., 1:])
        known = (batch.focus[..., 1] >= 0) & (batch.targets < vocabulary.n_used)
        share = (weights_by_layer * inside[None, :, None]).sum(-1)  # layers batch heads tokens
        totals += torch.stack([layer.transpose(1, 2)[known].mean(0) for layer in share])
    return totals / _N_BATCHES
