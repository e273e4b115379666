"""A frame of `frames.toml`, filled: agreement of articles and adjectives, then contractions."""

import random
import re

from training.grammar.dates import time
from training.grammar.lexicon import Noun, lexicon
from training.grammar.meanings import Command, Time
from training.grammar.number_words import cardinal

_SLOT = re.compile(r"\{(\w+)\}")
_PART = re.compile(r"\{(?P<slot>\w+)\}|\((?P<forms>[^)]*\|[^)]*)\)")

# Made in this order, whatever the capital.
_CONTRACTIONS = {
    "en": ((r"\b([Aa]) (?=[aeiou])", r"\1n "),),
    "es": ((r"\ba el\b", "al"), (r"\bde el\b", "del"), (r"\bSon la una\b", "Es la una")),
    "de": ((r"\bin dem\b", "im"), (r"\bin das\b", "ins")),
    "fr": ((r"\b([LlDd])(?:e|a) (?=[aeiouéèêh])(?!haut|huit|onze)", r"\1'"), (r"\bde le\b", "du"), (r"\bà le\b", "au")),
}


def slots(frame: str) -> tuple[str, ...]:
    """Names of the frame's slots, in the order of its English form; a plural is another name than its singular."""
    return tuple(_SLOT.findall(lexicon().frames[frame]["en"][0]))


def choices(slot: str) -> tuple[str | int, ...]:
    """What may fill the slot; empty for `time`, which is drawn."""
    words = lexicon()
    if slot in words.numbers:
        return words.numbers[slot]
    for groups in (words.adjectives, words.words):
        if slot in groups:
            return tuple(groups[slot])
    return () if slot == "time" else tuple(words.nouns[_noun_group(slot)])


def sentence(command: Command, language: str, rng: random.Random | None = None) -> str:
    """The command in words, with its punctuation and without capital if it begins with a slot."""
    forms = lexicon().frames[command.frame][language]
    form = forms[0] if rng is None else rng.choice(forms)
    filled = _fill(form, dict(command.slots), language, rng)
    for pattern, replacement in _CONTRACTIONS[language]:
        filled = re.sub(pattern, replacement, filled)
    return filled


def _fill(form: str, values: dict[str, str | int | Time], language: str, rng: random.Random | None) -> str:
    nouns = [
        (match.span(), _noun(match[1], values[match[1]], language), _is_plural(match[1]))
        for match in _SLOT.finditer(form)
        if _noun_group(match[1]) in lexicon().nouns
    ]

    def nearest(match: re.Match[str]) -> tuple[int, bool]:
        distance = [max(match.start() - end, start - match.end()) for (start, end), _, _ in nouns]
        _, noun, plural = nouns[distance.index(min(distance))]
        return noun.gender, plural

    def fill(match: re.Match[str]) -> str:
        if match["forms"] is not None:
            return str(match["forms"].split("|")[nearest(match)[0]])
        slot, value = match["slot"], values[match["slot"]]
        if isinstance(value, Time):
            return time(value, language, rng)
        if isinstance(value, int):
            return cardinal(value, language)
        if slot in lexicon().adjectives:
            return _agree(lexicon().adjectives[slot][value][language], *nearest(match))
        if slot in lexicon().words:
            return lexicon().words[slot][value][language]
        noun = _noun(slot, value, language)
        return noun.plural if _is_plural(slot) else noun.singular

    return _PART.sub(fill, form)


def _agree(forms: tuple[str, ...], gender: int, plural: bool) -> str:
    return forms[0] if len(forms) == 1 else forms[gender + 2 * plural]


def _noun(slot: str, value: str | int | Time, language: str) -> Noun:
    return lexicon().nouns[_noun_group(slot)][str(value)][language]


def _is_plural(slot: str) -> bool:
    return slot not in lexicon().nouns and slot.removesuffix("s") in lexicon().nouns


def _noun_group(slot: str) -> str:
    return slot.removesuffix("s") if _is_plural(slot) else slot
