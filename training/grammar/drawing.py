"""Meanings drawn at random, as the table `KINDS` weighs them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from training.grammar import frames
from training.grammar.lexicon import LANGUAGES, lexicon
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
from training.grammar.number_words import FIRST_YEAR, LAST_YEAR
from training.grammar.rendering import render, translation

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_WORD_GROUPS = ("control", "control", "single", "weekday", "month", "colour", "way")


@dataclass(frozen=True)
class Utterance:
    """One thing said: what it means, the language it is said in, its words, and their English translation."""

    meaning: Meaning
    language: str
    text: str
    translation: str


def draw(rng: random.Random, languages: Sequence[str] = LANGUAGES) -> Utterance:
    """An utterance in one of `languages`; English comes twice as often as each of the others."""
    meaning = draw_meaning(rng)
    language = rng.choices(languages, [2 if language == "en" else 1 for language in languages])[0]
    return Utterance(meaning, language, render(meaning, language, rng), translation(meaning))


def draw_meaning(rng: random.Random) -> Meaning:
    """A meaning; how often each kind comes is in `KINDS`."""
    return rng.choices(_DRAWS, _WEIGHTS)[0](rng)


def _digit(rng: random.Random) -> Meaning:
    return Groups((rng.randrange(10),))


def _digits(rng: random.Random) -> Meaning:
    n_digits = rng.choices(range(2, 11), (3, 4, 4, 5, 2, 4, 1, 1, 1))[0]
    return Groups(tuple(rng.randrange(10) for _ in range(n_digits)))


def _groups(rng: random.Random) -> Meaning:
    return Groups(_numbers_in_a_row(rng, rng.randint(2, 4)))


def _area_code(rng: random.Random) -> Meaning:
    return AreaCode(tuple(rng.randrange(10) for _ in range(rng.randint(3, 7))))


def _spelled(rng: random.Random) -> Meaning:
    return Letters(rng.choice(_names()) if rng.random() < 0.75 else _letters(rng, rng.randint(1, 8)))


def _code(rng: random.Random) -> Code:
    # A large number keeps clear of the years, which are read otherwise.
    large = (rng.randrange(LAST_YEAR + 1, 10_000),)
    values = large if rng.random() < 0.05 else _numbers_in_a_row(rng, rng.randint(1, 3))
    return Code(_letters(rng, rng.randint(1, 5)), values)


def _control(rng: random.Random) -> Meaning:
    word = rng.choice(("enter", "rubout", "erase"))
    if word == "enter" and rng.random() < 0.8:
        return Control(word, Groups(_numbers_in_a_row(rng, rng.randint(1, 3))))
    return Control(word, _code(rng))


def _number(rng: random.Random) -> Meaning:
    low, high = rng.choices(((10, 100), (100, 1_000), (1_000, 10_000), (10_000, 1_000_000)), (9, 4, 2, 1))[0]
    value = rng.randrange(low, high)
    if value >= 10_000 or rng.random() < 0.2:
        value -= value % (high // 100 if value >= 1_000 else 10)
    return Number(value) if not FIRST_YEAR <= value <= LAST_YEAR else Year(value)


def _ordinal(rng: random.Random) -> Meaning:
    return Ordinal(rng.randint(1, 20))


def _draw_year(rng: random.Random) -> Meaning:
    return Year(_year(rng))


def _date(rng: random.Random) -> Meaning:
    month = rng.randint(1, 12)
    return Date(rng.randint(1, _DAYS[month - 1]), month, _year(rng) if rng.random() < 0.6 else None)


def _time(rng: random.Random) -> Meaning:
    return _everyday_time(rng) if rng.random() < 0.7 else Time(rng.randint(1, 23), rng.randrange(60))


def _word(rng: random.Random) -> Meaning:
    group = rng.choice(_WORD_GROUPS)
    return Word(group, rng.choice(list(lexicon().words[group])))


def _command(rng: random.Random) -> Meaning:
    frame = rng.choice(list(lexicon().frames))
    return Command(frame, tuple((slot, _slot(slot, rng)) for slot in frames.slots(frame)))


def _slot(slot: str, rng: random.Random) -> str | int | Time:
    return _everyday_time(rng) if slot == "time" else rng.choice(frames.choices(slot))


def _everyday_time(rng: random.Random) -> Time:
    return Time(rng.randint(1, 12), 5 * rng.randrange(12))


def _year(rng: random.Random) -> int:
    return rng.randint(1900, 2030) if rng.random() < 0.85 else rng.randint(FIRST_YEAR, LAST_YEAR)


def _letters(rng: random.Random, n: int) -> str:
    return "".join(rng.choice(_ALPHABET) for _ in range(n))


def _numbers_in_a_row(rng: random.Random, n: int) -> tuple[int, ...]:
    """Numbers below 100 that can be told apart in every language: never (20, 4), "twenty four"."""
    values: list[int] = []
    while len(values) < n:
        value = rng.randrange(10) if rng.random() < 0.6 else rng.randrange(10, 100)
        if not values or _apart(values[-1], value):
            values.append(value)
    return tuple(values)


def _apart(first: int, second: int) -> bool:
    """Whether no language has the two sound as one: "twenty four", "dix sept", "quatre vingt-deux", "acht zehn"."""
    if second == 10 and first < 10:
        return False
    if first >= 10 and first % 10 == 0:
        return second >= 20
    return not (first % 10 == 4 and 20 <= second < 30)


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    return tuple((Path(__file__).parent / "names.txt").read_text("utf-8").split())


# Shares of each kind, in percent. The AN4 census recordings set the mix of letters, digits, codes, control
# words and dates; the rest is what one asks of a voice interface.
KINDS: dict[str, tuple[float, Callable[[random.Random], Meaning]]] = {
    "one digit": (7, _digit),
    "digits": (8, _digits),
    "numbers in a row": (5, _groups),
    "area code": (1, _area_code),
    "spelled": (12, _spelled),
    "letters and numbers": (7, _code),
    "control word with argument": (6, _control),
    "number": (6, _number),
    "ordinal": (2, _ordinal),
    "year": (3, _draw_year),
    "date": (6, _date),
    "time": (6, _time),
    "one word": (9, _word),
    "command": (22, _command),
}
_DRAWS = [draw_kind for _, draw_kind in KINDS.values()]
_WEIGHTS = [weight for weight, _ in KINDS.values()]
