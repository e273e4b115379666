"""What the two heads on the encoder are taught: phonemes position by position, and phonemes in order."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.kinds import Kind
from training.placement import Placed
from training.vocabulary import IGNORED

_SILENCE = 0  # also CTC's blank


def phonemes_by_position(kind: Kind, placed: Sequence[Placed], phoneme_ids: Mapping[str, int]) -> NDArray[np.int64]:
    """ " n_positions": the phoneme heard at each; IGNORED in utterances whose phonemes have no known times."""
    labels = np.full(kind.n_positions, _SILENCE)
    for item in placed:
        about = item.utterance.about
        labels[item.first : item.last] = _SILENCE if about.phoneme_times else IGNORED  # slices end with the window
        for (time, name), (until, _) in pairwise([*about.phoneme_times, (item.utterance.duration, "")]):
            if name:
                labels[item.position(time) : item.position(until)] = phoneme_ids[name]
    return labels


def phonemes_in_order(placed: Sequence[Placed], phoneme_ids: Mapping[str, int]) -> list[int] | None:
    """The phonemes of the whole window; None where an utterance is cut, since nobody knows after which."""
    if any(item.is_cut for item in placed):
        return None
    return [phoneme_ids[name] for item in placed for name in item.utterance.about.phonemes]
