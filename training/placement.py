"""Where in a window its utterances lie, each changed in its own way."""

from dataclasses import dataclass

import numpy as np

from training.augment import LogPower, changed, draw_change, masked
from training.corpus import Utterance
from training.kinds import POSITIONS_PER_SECOND, Kind
from training.pools import Pools

_LEAST_CUT = 15  # positions of a cut utterance that are heard at least
_NARROW_SOURCES = ("fsdd", "an4", "an4-words")  # more often through a telephone's band, so that few strangers sound new


@dataclass(frozen=True)
class Placed:
    """An utterance in its window."""

    utterance: Utterance
    spectrum: LogPower
    """Its log power, changed; a cut one ends with the window."""
    first: int
    """The position at which it begins."""
    tempo: float
    """How much longer it is than the utterance."""
    is_cut: bool = False
    """The window ends before the utterance does: only its start is written, so that the next window begins there."""

    @property
    def last(self) -> int:
        """The position behind its end."""
        return self.first + len(self.spectrum) // 2

    def position(self, time: float) -> int:
        """The position in the window of a time of the utterance."""
        return self.first + round(time * self.tempo * POSITIONS_PER_SECOND)


def place(rng: np.random.Generator, pools: Pools, kind: Kind, language: str) -> list[Placed]:
    """Utterances one after the other, as many as there is room for.

    The first is moved to the window's beginning where it would not fit otherwise, and others are drawn in its place
    if it still does not: a window left empty teaches nothing but silence.
    """
    placed: list[Placed] = []
    n_wanted = _n_wanted(rng, kind)
    source, source_stays = pools.draw_source(rng, language), rng.random() < 0.7
    at = _first_position(rng, is_alone=n_wanted == 1)
    for attempt in range(n_wanted + 6):
        if not source_stays:
            source = pools.draw_source(rng, language)
        utterance = pools.draw(rng, language, source)
        change = draw_change(rng, narrow=0.3 if utterance.about.source in _NARROW_SOURCES else 0.2)
        n_needed = change.n_frames(len(utterance.log_power)) // 2
        room = kind.n_positions - at
        if n_needed > room:
            if not placed and n_needed <= kind.n_positions:
                at = 0
            elif placed and kind.whole and room > _LEAST_CUT and rng.random() < 0.5:
                spectrum = changed(utterance.log_power, change)
                return [*placed, Placed(utterance, spectrum[: 2 * room], at, _tempo(spectrum, utterance), is_cut=True)]
            elif not placed and attempt >= 5:
                return []
            else:
                continue
        spectrum = changed(utterance.log_power, change)
        if rng.random() < 0.5:
            spectrum = masked(spectrum, rng)
        placed.append(Placed(utterance, spectrum, at, _tempo(spectrum, utterance)))
        at = placed[-1].last + _pause(rng)
        if len(placed) == n_wanted:
            break
    return placed


def _n_wanted(rng: np.random.Generator, kind: Kind) -> int:
    """Whole windows often hold one clip or two, as in use, for all the work that their silence costs."""
    most = 3 if kind.whole and rng.random() < 0.4 else kind.most_utterances
    return int(rng.integers(1, most + 1))


def _tempo(spectrum: LogPower, utterance: Utterance) -> float:
    """The tempo after rounding to whole positions."""
    return len(spectrum) / len(utterance.log_power)


def _first_position(rng: np.random.Generator, *, is_alone: bool) -> int:
    """Within the first second, as clips are cut, and where more follow now and then a pause as between them.

    One in four begins at once. With more of them the model writes <|0.00|> whenever it is not sure.
    """
    if is_alone or rng.random() < 0.7:
        return int(rng.choice([0, *rng.integers(0, (25, 45, 45))]))
    return _pause(rng)


def _pause(rng: np.random.Generator) -> int:
    return int(rng.integers(12, 70))
