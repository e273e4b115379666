"""A Nano of the smallest size with random weights, and a vocabulary of a few words."""

import torch

from tests.training.made_up import utterance
from training.model import Nano, Shape
from training.vocabulary import CompactVocabulary, vocabulary_of

SHAPE = Shape(
    n_audio_state=32, n_audio_head=2, n_audio_layer=1, n_text_state=32, n_text_head=2, n_text_layer=2
)  # fmt: skip


def small_vocabulary() -> CompactVocabulary:
    return vocabulary_of([utterance("Turn on the light.", translation="Seven nine."), utterance("¿Qué hora es?")])


def small_nano(vocabulary: CompactVocabulary, *, seed: int = 0) -> Nano:
    """Weights of unit size, so that every part has a say in the logits."""
    torch.manual_seed(seed)
    model = Nano(SHAPE, n_used=vocabulary.n_used, n_unused=vocabulary.n_unused, n_phonemes=7)
    with torch.no_grad():
        for parameter in (model.decoder.used, model.decoder.never, model.decoder.timestamp.weight):
            parameter.normal_(std=32**-0.5)
        model.decoder.positional_embedding.normal_(std=0.1)
    return model.eval()
