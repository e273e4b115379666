"""Which cross-attention heads follow the words: found by measuring all of them against known word times."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from training.corpus import Description, Utterance, log_power_of
from training.kinds import Kind
from training.model import Nano
from training.noise import noise
from training.vocabulary import CompactVocabulary
from training.windows import Windows

_WINDOW = Kind(30, 8, 6, whole=True)
_N_BATCHES = 4
_GOOD = 0.85  # of the best head's share: two heads as good as each other are better than one


def find_alignment_heads(scores: Tensor) -> list[tuple[int, int]]:
    """(layer, head) of every head that puts nearly as much attention on the right word as the best one does."""
    return [(int(layer), int(head)) for layer, head in (scores >= _GOOD * scores.max()).nonzero()]


@torch.no_grad()
def score_heads(
    model: Nano, vocabulary: CompactVocabulary, phoneme_ids: Mapping[str, int], utterances: Sequence[Utterance]
) -> Tensor:
    """ "n_layers n_heads": the mean share of attention that falls on the word being written.

    The utterances come from one source, which knows when each word is said; without such, the place of the whole
    utterance counts as that of its words.
    """
    source = utterances[0].about.source
    languages = sorted({utterance.about.language for utterance in utterances})
    weights = {(language, source): 1.0 for language in languages}
    windows = Windows([*utterances, *_noises()], weights, vocabulary, phoneme_ids, seed=9)
    totals = torch.zeros(model.shape.n_text_layer, model.shape.n_text_head)
    for _ in range(_N_BATCHES):
        batch = windows.batch(_WINDOW)
        attention = model.cross_attention(batch.mel, batch.offsets, batch.tokens)
        positions = torch.arange(attention.shape[-1])
        inside = (positions >= batch.focus[..., :1]) & (positions <= batch.focus[..., 1:])
        is_text = (batch.focus[..., 1] >= 0) & (batch.targets < vocabulary.n_used)
        share = (attention * inside[None, :, None]).sum(-1)  # n_layers batch n_heads n_tokens
        totals += torch.stack([layer.transpose(1, 2)[is_text].mean(0) for layer in share])
    return totals / _N_BATCHES


def _noises() -> list[Utterance]:
    """What windows put behind speech, here independent of any recording."""
    rng = np.random.default_rng(12)
    about = Description("", "en", "noise", "noise", 0, 0)
    return [Utterance(about, log_power_of(noise(rng, 32_000))) for _ in range(3)]
