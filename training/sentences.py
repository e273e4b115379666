"""What the synthetic voices say: sentences of the grammar and, in English, a reader's; some are kept for evaluation."""

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stagewhisper.errors import DataSetError
from training.grammar import draw_meaning, render, translation
from training.manifest import read_manifest


@dataclass(frozen=True)
class Sentence:
    """What is to be said."""

    text: str
    language: str
    translation: str | None = None
    """The same in English, where the language is another and the meaning is known."""


def draw_sentence(rng: np.random.Generator, language: str, free: Sequence[str], *, reserved: bool = False) -> Sentence:
    """A sentence of the grammar, or now and then a free one; `reserved` ones are for evaluation alone."""
    if free and language == "en" and rng.random() < 0.05:
        return Sentence(free[int(rng.integers(len(free)))], "en")
    draws = random.Random(int(rng.integers(1 << 62)))  # noqa: S311 nothing secret
    while True:
        meaning = draw_meaning(draws)
        sentence = Sentence(
            render(meaning, language, draws), language, None if language == "en" else translation(meaning)
        )
        if reserved and is_reserved(sentence.text):
            return sentence
        # Its translation would teach a reserved English sentence.
        if not reserved and not is_reserved(sentence.text) and not is_reserved(sentence.translation or ""):
            return sentence


def is_reserved(text: str) -> bool:
    """Whether a sentence is never trained on: one in twenty of those of three words and more."""
    return len(text.split()) >= 3 and zlib.crc32(text.lower().encode()) % 20 == 0


def read_sentences(manifest: Path) -> list[str]:
    """The sentences of the recordings in `voices/` and of no others, each once.

    Raises:
        DataSetError: it is no manifest, or has no such recording.
    """
    entries = (entry for entry in read_manifest(manifest) if entry["audio"].startswith("voices/"))
    sentences = sorted({entry["text"] for entry in entries if entry["text"]})
    if not sentences:
        raise DataSetError(
            f"{manifest} has no sentence to read: none of its recordings lies in voices/ and has a text."
        )
    return sentences
