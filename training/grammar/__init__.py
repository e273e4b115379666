"""What stagewhisper-nano is trained to understand: meanings, and how four languages say them."""

from training.grammar.drawing import KINDS, Utterance, draw, draw_meaning
from training.grammar.lexicon import LANGUAGES
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
from training.grammar.rendering import render, translation

__all__ = [
    "KINDS",
    "LANGUAGES",
    "AreaCode",
    "Code",
    "Command",
    "Control",
    "Date",
    "Groups",
    "Letters",
    "Meaning",
    "Number",
    "Ordinal",
    "Time",
    "Utterance",
    "Word",
    "Year",
    "draw",
    "draw_meaning",
    "render",
    "translation",
]
