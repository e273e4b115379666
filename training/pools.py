"""The utterances of a training by language and source, drawn as often as their weights say."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from stagewhisper.errors import DataSetError
from training.corpus import Utterance

_NOISE = ("en", "noise")


@dataclass(frozen=True)
class Pools:
    """Speech to draw from, and noise to put behind it."""

    speech: Mapping[tuple[str, str], list[Utterance]]
    """By (language, source)."""
    weights: Mapping[tuple[str, str], float]
    noises: list[Utterance]

    def draw_language(self, rng: np.random.Generator) -> str:
        """A language, as often as all its sources together."""
        languages = sorted({language for language, _ in self.speech})
        totals = np.array([sum(self.weights[key] for key in self.speech if key[0] == code) for code in languages])
        return str(rng.choice(languages, p=totals / totals.sum()))

    def draw_source(self, rng: np.random.Generator, language: str) -> str:
        """One of the language's sources."""
        sources = [source for code, source in self.speech if code == language]
        weights = np.array([self.weights[language, source] for source in sources])
        return str(rng.choice(sources, p=weights / weights.sum()))

    def draw(self, rng: np.random.Generator, language: str, source: str) -> Utterance:
        """Any utterance of a language and source."""
        pool = self.speech[language, source]
        return pool[rng.integers(len(pool))]

    def draw_noise(self, rng: np.random.Generator) -> Utterance:
        """A clip without speech."""
        return self.noises[rng.integers(len(self.noises))]


def without_weight(
    utterances: Iterable[Utterance], weights: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], int]:
    """How many utterances of which language and source no training draws, since they have no weight."""
    of_each = Counter((one.about.language, one.about.source) for one in utterances)
    return {key: n for key, n in sorted(of_each.items()) if key != _NOISE and weights.get(key, 0) <= 0}


def pools_of(utterances: Iterable[Utterance], weights: Mapping[tuple[str, str], float]) -> Pools:
    """The utterances that have a weight, and the noise.

    Raises:
        DataSetError: there is no noise, or no utterance has a weight.
    """
    pools: dict[tuple[str, str], list[Utterance]] = {}
    for utterance in utterances:
        pools.setdefault((utterance.about.language, utterance.about.source), []).append(utterance)
    noises = pools.pop(_NOISE, [])
    speech = {key: pool for key, pool in pools.items() if weights.get(key, 0) > 0}
    if not speech or not noises:
        lacking = "noise" if speech else "speech of a source with a weight"
        raise DataSetError(f"The corpus has no {lacking}. training/make_nano shows which commands write it.")
    return Pools(speech, weights, noises)
