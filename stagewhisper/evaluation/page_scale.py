"""A horizontal scale of error rates that several drawings share.

Positions are per cent of the drawing's width, so a chart fits a phone and a sheet of paper while its strokes and its
letters keep their size.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_MOST_TICKS = 5
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)


@dataclass(frozen=True)
class Scale:
    """Rates from 0 to `end`, marked at every `step`."""

    end: float
    step: float

    @property
    def ticks(self) -> tuple[float, ...]:
        """The marked rates, 0 and `end` among them."""
        return tuple(index * self.step for index in range(round(self.end / self.step) + 1))

    def position(self, rate: float) -> str:
        """Where `rate` lies, as an SVG length; beyond the end it is the end."""
        return f"{100 * min(rate, self.end) / self.end:.2f}%"


def scale_for(rates: Iterable[float]) -> Scale:
    """The scale that shows all `rates` up to 100 %; one row of hallucinations must not flatten all others."""
    highest = min(max(rates, default=0.0), 1.0)
    for step in _STEPS:
        n_steps = max(1, math.ceil(highest / step - 1e-9))
        if n_steps <= _MOST_TICKS:
            return Scale(end=n_steps * step, step=step)
    raise AssertionError("five steps of a quarter reach 100 %")
