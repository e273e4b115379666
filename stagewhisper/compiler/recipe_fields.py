"""Take a recipe's mappings apart key by key, and say where in which file something is wrong."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from stagewhisper.errors import OptionError


@dataclass(frozen=True)
class Place:
    """Where in a recipe something stands: `my.yaml: passes[2].graphs`."""

    file: str
    path: str = ""

    def at(self, key: str | int) -> "Place":
        """The place of an entry of a mapping or a list that stands here."""
        if isinstance(key, int):
            return Place(self.file, f"{self.path}[{key}]")
        return Place(self.file, f"{self.path}.{key}" if self.path else key)

    def error(self, message: str) -> OptionError:
        """An error that begins with this place."""
        return OptionError(f"{self}: {message}")

    def __str__(self) -> str:
        return f"{self.file}: {self.path}" if self.path else self.file


class Fields:
    """A mapping of which only certain keys are known.

    Each method gives the value of one key, or `default` where it is missing; a key without default has to be there.

    Raises:
        OptionError: this is no mapping, a key is unknown or missing, or a value is of a wrong type.
    """

    def __init__(self, data: object, place: Place, *, known: Sequence[str]) -> None:
        if not isinstance(data, dict):
            raise place.error(f"{_shown(data)} stands here; expected a mapping with the keys {', '.join(known)}.")
        for key in data:
            if key not in known:
                close = get_close_matches(str(key), known, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise place.error(f"there is no key {key!r}.{hint} Known: {', '.join(known)}.")
        self._data: Mapping[str, Any] = data
        self.place = place

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def required(self, key: str) -> Any:
        """Whatever stands there."""
        if key not in self._data:
            raise self.place.error(f"the key {key!r} is missing.")
        return self._data[key]

    def text(self, key: str, *, choices: Collection[str] = (), default: str | None = None) -> str:
        """Text, one of `choices` if there are any."""
        if default is not None and key not in self._data:
            return default
        value = self.required(key)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, f"one of {', '.join(choices)}" if choices else "text")
        if choices and value not in choices:
            raise self.place.at(key).error(f"{value!r} is unknown. Known: {', '.join(choices)}.")
        return value

    def number(self, key: str, *, above: float | None = None) -> float:
        """A finite number, larger than `above`."""
        value = self.required(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, "a number")
        if above is not None and value <= above:
            raise self.wrong(key, f"a number above {above:g}")
        return float(value)

    def integer(self, key: str, *, at_least: int, default: int | None = None) -> int:
        """A whole number from `at_least` on."""
        if default is not None and key not in self._data:
            return default
        value = self.required(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise self.wrong(key, f"a whole number from {at_least} on")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._data.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def items(self, key: str) -> list[Any]:
        """A list; one that is missing is empty."""
        value = self._data.get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """A mapping by text; one that is missing is empty."""
        value = self._data.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a mapping")
        for name in value:
            if not isinstance(name, str):
                raise self.place.at(key).error(f"the key {name!r} is no text. Put it into quotes.")
        return value

    def wrong(self, key: str, expected: str) -> OptionError:
        """The error for a value of a wrong type."""
        return self.place.at(key).error(f"{_shown(self._data[key])} stands here; expected {expected}.")


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
