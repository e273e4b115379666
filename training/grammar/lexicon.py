"""The words and frames of `words.toml` and `frames.toml`, read once."""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

LANGUAGES = ("en", "es", "de", "fr")
_GENDERS = "mfn"


@dataclass(frozen=True)
class Noun:
    """A noun in one language; `gender` counts masculine 0, feminine 1, neuter 2."""

    gender: int
    singular: str
    plural: str


@dataclass(frozen=True)
class Lexicon:
    """All groups of words by name; what a group's keys map to has one entry for each language."""

    nouns: dict[str, dict[str, dict[str, Noun]]]
    words: dict[str, dict[str, dict[str, str]]]
    numbers: dict[str, tuple[int, ...]]
    frames: dict[str, dict[str, tuple[str, ...]]]


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The lexicon of the four languages."""
    folder = Path(__file__).parent
    words = tomllib.loads((folder / "words.toml").read_text("utf-8"))
    frames = tomllib.loads((folder / "frames.toml").read_text("utf-8"))
    return Lexicon(
        nouns={
            group: {
                key: {language: _noun(entry, language) for language, entry in entries.items()}
                for key, entries in keys.items()
            }
            for group, keys in words["noun"].items()
        },
        words=words["word"],
        numbers={group: tuple(values) for group, values in words["numbers"].items()},
        frames={name: {language: tuple(forms) for language, forms in frame.items()} for name, frame in frames.items()},
    )


def month(number: int, language: str) -> str:
    """The name of month 1 to 12."""
    return list(lexicon().words["month"].values())[number - 1][language]


def _noun(entry: str, language: str) -> Noun:
    gender, forms = ("m", entry) if language == "en" else entry.split(" ", 1)
    singular, plural = forms.split("/")
    return Noun(_GENDERS.index(gender), singular, plural)
