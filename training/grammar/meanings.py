"""What can be said, apart from any language."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Groups:
    """Numbers read one after the other: `(7, 3)` "seven three", `(4, 42)` "four forty two"."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class AreaCode:
    """A telephone number after "area code", digit by digit."""

    digits: tuple[int, ...]


@dataclass(frozen=True)
class Letters:
    """Letters A to Z, each called by its name: `"GME"`."""

    letters: str


@dataclass(frozen=True)
class Code:
    """Letters, then numbers one after the other: `("AVMU", (4, 42))`."""

    letters: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Control:
    """A control word (a key of `[word.control]`), alone or with what it acts on."""

    word: str
    argument: "Groups | Code | None" = None


@dataclass(frozen=True)
class Number:
    """A cardinal from 0 to 999,999, except those that would be read as a year."""

    value: int


@dataclass(frozen=True)
class Ordinal:
    """The first to the twentieth."""

    value: int


@dataclass(frozen=True)
class Year:
    """A year from 1100 to 2099."""

    value: int


@dataclass(frozen=True)
class Date:
    """A day of the month, with or without a year."""

    day: int
    month: int
    year: int | None = None


@dataclass(frozen=True)
class Time:
    """A time of day.

    Hours 1 to 12 with minutes in fives are said as one says them ("half past three"), all others as a clock shows
    them ("fifteen thirty").
    """

    hour: int
    minute: int

    @property
    def is_colloquial(self) -> bool:
        """Whether the time is said as one says it, not as a clock shows it."""
        return 1 <= self.hour <= 12 and self.minute % 5 == 0


@dataclass(frozen=True)
class Word:
    """A word alone: a group of `words.toml` and a key in it."""

    group: str
    key: str


@dataclass(frozen=True)
class Command:
    """A frame of `frames.toml` and what fills its slots, in the order of the English form's slots."""

    frame: str
    slots: "tuple[tuple[str, str | int | Time], ...]" = ()


Meaning: TypeAlias = (
    Groups | AreaCode | Letters | Code | Control | Number | Ordinal | Year | Date | Time | Word | Command
)
