"""Windows by their length and filling; a position is 0.02 s, one step of the encoder and of the timestamps."""

from dataclasses import dataclass

POSITIONS_PER_SECOND = 50
N_POSITIONS = 1500
"""Of a window of 30 s."""


@dataclass(frozen=True)
class Kind:
    """One kind of window: how long, how many at once, how it is filled."""

    seconds: float
    batch: int
    most_utterances: int
    whole: bool = False
    """Begins at position 0, as a window does when the model is used."""

    @property
    def n_positions(self) -> int:
        """The window's length."""
        return int(self.seconds * POSITIONS_PER_SECOND)


SINGLE = Kind(3, 40, 1)
SHORT = Kind(4, 32, 3)
MIDDLE = Kind(10, 12, 6)
WHOLE = Kind(30, 4, 14, whole=True)
