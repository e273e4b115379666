"""Which language is spoken in a window."""

import numpy as np

from stagewhisper.arrays import Logits
from stagewhisper.decoding.search import log_softmax
from stagewhisper.engines.base import AnyEngine
from stagewhisper.errors import OptionError
from stagewhisper.tokenizer import Tokenizer


def detect_language(
    engine: AnyEngine, features: object, *, tokenizer: Tokenizer, n_audio: int
) -> list[dict[str, float]]:
    """For each window, the probability of every language code, in the vocabulary's order.

    The model is asked for the token after the start of a transcript, languages only.

    Raises:
        OptionError: the model knows English only.
    """
    if not tokenizer.is_multilingual:
        raise OptionError("This model knows English only; it cannot detect languages. Use a model without '.en'.")
    start = np.full((n_audio, 1), tokenizer.sot, np.int64)
    logits: Logits = engine.decode_step(start, engine.start(features)).logits[:, -1]
    columns = list(tokenizer.languages.values())
    probabilities = np.exp(log_softmax(logits[:, columns]))
    return [dict(zip(tokenizer.languages, row.tolist(), strict=True)) for row in probabilities]


def most_probable(probabilities: dict[str, float]) -> str:
    """The code of the most probable language."""
    return max(probabilities, key=probabilities.__getitem__)
