"""Windows to learn from: utterances placed in time, changed, with noise, and the tokens that describe them.

A short window stands for a cut out of a 30-second one: it begins at a random position, and its timestamps are the
positions in the whole. So every position and timestamp is learnt long before the first 30-second window.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from training.background import spectrum_of
from training.batch import Batch, Window, batch_of
from training.corpus import Utterance
from training.kinds import N_POSITIONS, Kind
from training.phoneme_labels import phonemes_by_position, phonemes_in_order
from training.placement import Placed, place
from training.pools import pools_of
from training.script import write_script
from training.vocabulary import CompactVocabulary

_FULL = 0.3  # share of windows that the recording fills to the end, with silence if need be
_SILENT = 0.07  # share of windows without speech, beside those in which nothing fitted


class Windows:
    """Draws windows without end; the same seed draws the same."""

    def __init__(
        self,
        utterances: Iterable[Utterance],
        weights: Mapping[tuple[str, str], float],
        vocabulary: CompactVocabulary,
        phoneme_ids: Mapping[str, int],
        *,
        seed: int | Sequence[int],
    ) -> None:
        """`weights` says how often each (language, source) is drawn; the source "noise" is put behind the others.

        Raises:
            DataSetError: there is no noise, or no utterance has a weight.
        """
        self.rng = np.random.default_rng(seed)
        self.pools = pools_of(utterances, weights)
        self.vocabulary = vocabulary
        self.phoneme_ids = phoneme_ids

    def batch(self, kind: Kind) -> Batch:
        """A batch of windows of one kind."""
        padding = self.vocabulary.row(self.vocabulary.tokenizer.eot)
        return batch_of([self.window(kind) for _ in range(kind.batch)], padding=padding)

    def window(self, kind: Kind) -> Window:
        """One window."""
        rng, pools = self.rng, self.pools
        offset = 0 if kind.whole else int(rng.integers(0, N_POSITIONS - kind.n_positions + 1))
        language = pools.draw_language(rng)
        placed = [] if rng.random() < _SILENT else place(rng, pools, kind, language)
        return Window(
            offset,
            self._n_heard(kind, placed),
            spectrum_of(rng, pools, kind, placed),
            phonemes_by_position(kind, placed, self.phoneme_ids),
            phonemes_in_order(placed, self.phoneme_ids),
            write_script(rng, self.vocabulary, pools, kind, placed, language=language, offset=offset),
        )

    def _n_heard(self, kind: Kind, placed: Sequence[Placed]) -> int:
        """Where the recording ends: with the window, or a little after its last word."""
        last = placed[-1].last if placed else int(self.rng.integers(0, kind.n_positions))
        if self.rng.random() < _FULL:
            return kind.n_positions
        return min(kind.n_positions, last + int(self.rng.integers(0, 40)))
