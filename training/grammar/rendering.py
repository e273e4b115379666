"""A meaning in words: exactly as it is spoken, without a digit, with capital and full stop."""

import random

from training.grammar import dates, frames, number_words
from training.grammar.lexicon import lexicon
from training.grammar.meanings import (
    AreaCode,
    Code,
    Command,
    Control,
    Date,
    Groups,
    Letters,
    Meaning,
    Number,
    Ordinal,
    Time,
    Word,
    Year,
)

_AREA_CODE = {"en": "area code", "es": "prefijo", "de": "Vorwahl", "fr": "indicatif"}
_ARTICLE = {"en": "the", "es": "el", "de": "der", "fr": "le"}


def render(meaning: Meaning, language: str, rng: random.Random | None = None) -> str:
    """The meaning in `language` ("en", "es", "de" or "fr"); `rng` chooses among its forms, None gives the usual one."""
    words = _words(meaning, language, rng)
    start = 1 if words.startswith("¿") else 0
    words = words[:start] + words[start].upper() + words[start + 1 :]
    return words if words.endswith((".", "?")) else words + "."


def translation(meaning: Meaning) -> str:
    """What Whisper's translate task should write: the usual English form."""
    return render(meaning, "en")


def _words(meaning: Meaning, language: str, rng: random.Random | None) -> str:
    match meaning:
        case Groups(values):
            return _groups(values, language, rng)
        case AreaCode(digits):
            return f"{_AREA_CODE[language]} {_groups(digits, language, rng)}"
        case Letters(letters):
            return " ".join(letters)
        case Code(letters, values):
            return f"{' '.join(letters)} {_groups(values, language, rng)}"
        case Control(word, argument):
            key = lexicon().words["control"][word][language]
            return key if argument is None else f"{key} {_words(argument, language, rng)}"
        case Number(value):
            return number_words.cardinal(value, language, rng)
        case Ordinal(value):
            return f"{_ARTICLE[language]} {number_words.ordinal(value, language)}"
        case Year(value):
            return number_words.year(value, language, rng)
        case Date():
            return dates.date(meaning, language, rng)
        case Time():
            return dates.time(meaning, language, rng)
        case Word(group, key):
            return lexicon().words[group][key][language]
        case Command():
            return frames.sentence(meaning, language, rng)


def _groups(values: tuple[int, ...], language: str, rng: random.Random | None) -> str:
    alone = len(values) == 1
    return " ".join(number_words.digit(value, language, rng, alone=alone) for value in values)
