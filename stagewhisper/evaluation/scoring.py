"""Word and character error rates of texts, without any model."""

from collections.abc import Iterable
from dataclasses import dataclass

from stagewhisper.evaluation.bootstrap import error_rates
from stagewhisper.evaluation.comparison import Comparison, compare_texts
from stagewhisper.evaluation.normalization import normalizer_for
from stagewhisper.evaluation.results import ErrorRate


@dataclass(frozen=True)
class Score:
    """The error rates of all texts, and how each differs from its reference."""

    wer: ErrorRate
    cer: ErrorRate
    comparisons: tuple[Comparison, ...]

    @property
    def n_five_gram_insertions(self) -> int:
        """Sequences of five inserted words in all texts."""
        return sum(comparison.n_five_gram_insertions for comparison in self.comparisons)


def score(pairs: Iterable[tuple[str, str]], *, normalizer: str = "auto", language: str | None = "en") -> Score:
    """How far the second text of each pair is from the first, its reference: what `evaluate` would report for them.

    Raises:
        OptionError: no normaliser has that name.
        StagewhisperError: jiwer or the normaliser's package is not installed.
    """
    normalize = normalizer_for(normalizer, language=language)
    comparisons = tuple(compare_texts(reference, text, normalize=normalize) for reference, text in pairs)
    wer, cer = error_rates([c.words for c in comparisons], [c.characters for c in comparisons])
    return Score(wer, cer, comparisons)
