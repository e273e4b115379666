"""A frame of `frames.toml`, filled: articles and endings agree with their noun, then contractions are made."""

import random
import re

from training.grammar.dates import time
from training.grammar.lexicon import Noun, lexicon
from training.grammar.meanings import Command, Time
from training.grammar.number_words import cardinal

_SLOT = re.compile(r"\{(\w+)\}")
_PART = re.compile(r"\{(?P<slot>\w+)\}|\((?P<forms>[^)]*\|[^)]*)\)")

# Those that the frames need, whatever the capital.
_CONTRACTIONS = {
    "en": (),
    "es": ((r"\ba el\b", "al"),),
    "de": ((r"\bin dem\b", "im"), (r"\bin das\b", "ins")),
    "fr": ((r"\b([Ll])(?:e|a) (?=[aeiouéèêh])", r"\1'"),),
}


def slots(frame: str) -> tuple[str, ...]:
    """Names of the frame's slots, in the order of its English form; a plural is another name than its singular."""
    return tuple(_SLOT.findall(lexicon().frames[frame]["en"][0]))


def choices(slot: str) -> tuple[str | int, ...]:
    """What may fill the slot; empty for `time`, which is drawn."""
    words = lexicon()
    if slot in words.numbers:
        return words.numbers[slot]
    if slot in words.words:
        return tuple(words.words[slot])
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
        (match.span(), _noun(match[1], values[match[1]], language))
        for match in _SLOT.finditer(form)
        if _noun_group(match[1]) in lexicon().nouns
    ]

    def gender(match: re.Match[str]) -> int:
        """That of the nearest noun."""
        distance = [max(match.start() - end, start - match.end()) for (start, end), _ in nouns]
        return nouns[distance.index(min(distance))][1].gender

    def fill(match: re.Match[str]) -> str:
        if match["forms"] is not None:
            return str(match["forms"].split("|")[gender(match)])
        slot, value = match["slot"], values[match["slot"]]
        if isinstance(value, Time):
            return time(value, language, rng)
        if isinstance(value, int):
            return cardinal(value, language)
        if slot in lexicon().words:
            return lexicon().words[slot][value][language]
        noun = _noun(slot, value, language)
        return noun.plural if _is_plural(slot) else noun.singular

    return _PART.sub(fill, form)


def _noun(slot: str, value: str | int | Time, language: str) -> Noun:
    return lexicon().nouns[_noun_group(slot)][str(value)][language]


def _is_plural(slot: str) -> bool:
    return slot not in lexicon().nouns and slot.removesuffix("s") in lexicon().nouns


def _noun_group(slot: str) -> str:
    return slot.removesuffix("s") if _is_plural(slot) else slot
