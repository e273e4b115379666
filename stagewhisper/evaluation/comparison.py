"""A text beside its reference: how many words and characters differ, and where."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stagewhisper.evaluation.normalization import Normalize
from stagewhisper.evaluation.packages import needed
from stagewhisper.evaluation.results import DiffPiece, EditCounts

_N_GRAM = 5


@dataclass(frozen=True)
class Comparison:
    """How a text differs from its reference, both normalised."""

    words: EditCounts
    characters: EditCounts
    diff: tuple[DiffPiece, ...]

    @property
    def n_five_gram_insertions(self) -> int:
        """Sequences of five words in a row that the alignment finds inserted."""
        return five_gram_insertions(self.diff)


def compare_texts(reference: str, hypothesis: str, *, normalize: Normalize) -> Comparison:
    """The comparison of `hypothesis` with `reference`, through jiwer's minimum-edit alignment.

    Words are what white space separates. Characters include the single spaces between words.
    """
    jiwer = needed("jiwer")
    reference, hypothesis = normalize(reference), normalize(hypothesis)
    words = jiwer.process_words(reference, hypothesis)
    characters = jiwer.process_characters(reference, hypothesis)
    return Comparison(_counts(words), _counts(characters), tuple(_diff(words)))


def five_gram_insertions(diff: Iterable[DiffPiece]) -> int:
    """How many 5-grams consist of inserted words only: a run of n inserted words has n - 4, a shorter one none.

    A wrong word here and there leaves none; an invented sentence, or a loop, leaves many. WhisperS2T reports a count
    of this name for hallucinations without defining it; a run ends here at any word that is matched or substituted.
    """
    runs = (len(piece.hypothesis) for piece in diff if piece.op == "insert")
    return sum(max(0, n_words - _N_GRAM + 1) for n_words in runs)


def _counts(output: Any) -> EditCounts:
    return EditCounts(output.hits, output.substitutions, output.deletions, output.insertions)


def _diff(output: Any) -> Iterable[DiffPiece]:
    (reference,), (hypothesis,), (chunks,) = output.references, output.hypotheses, output.alignments
    for chunk in chunks:
        yield DiffPiece(
            chunk.type,
            tuple(reference[chunk.ref_start_idx : chunk.ref_end_idx]),
            tuple(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
