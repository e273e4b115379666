"""What each step of a training does: which windows it draws, and how fast it learns."""

import math
from dataclasses import dataclass

from training.kinds import MIDDLE, SHORT, SINGLE, WHOLE, Kind

WEIGHTS = {
    ("en", "fsdd"): 0.10,
    ("en", "an4"): 0.22,
    ("en", "an4-words"): 0.12,
    ("en", "voices"): 0.01,
    ("en", "espeak"): 0.11,
    ("en", "flite"): 0.05,
    ("en", "festival"): 0.03,
    ("es", "espeak"): 0.16,
    ("de", "espeak"): 0.16,
    ("fr", "espeak"): 0.16,
}
"""How often an utterance of each language and source is drawn beside the others, if the corpus has any."""

STAGES: tuple[tuple[float, tuple[tuple[Kind, float], ...]], ...] = (
    (0.12, ((SINGLE, 1.0),)),
    (0.45, ((SHORT, 0.8), (MIDDLE, 0.2))),
    (0.70, ((SHORT, 0.4), (MIDDLE, 0.5), (WHOLE, 0.1))),
    (1.00, ((SHORT, 0.25), (MIDDLE, 0.35), (WHOLE, 0.4))),
)
"""Up to which part of the training which kinds of windows are drawn how often."""

_GOLDEN = 0.6180339887  # its multiples, whole parts apart, are spread evenly: shares without a draw


@dataclass(frozen=True)
class Schedule:
    """What each step does."""

    n_steps: int
    peak: float
    warm_up: int = 300
    tuning: bool = False
    """Only the last stage, at a falling rate: for going on from a trained model."""

    def progress(self, step: int) -> float:
        """How far the training is before this step, from 0 to 1."""
        return 1.0 if self.tuning else step / self.n_steps

    def kind(self, step: int) -> Kind:
        """The kind of window of this step, the same in every run."""
        kinds = next(kinds for until, kinds in STAGES if self.progress(step) <= until)
        place = (step * _GOLDEN) % 1
        for kind, share in kinds:
            place -= share
            if place < 0:
                return kind
        return kinds[-1][0]

    def rate(self, step: int) -> float:
        """Learning rate: a short rise to the peak, then half a cosine down to nothing."""
        rise = min(1.0, (step + 1) / self.warm_up)
        return self.peak * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.n_steps)))
