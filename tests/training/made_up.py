"""Utterances that nobody spoke: noise where their words are, silence elsewhere. So no voice needs to be installed."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from training.corpus import Description, Utterance

PHONEMES = ("a", "b", "t")
WORD = 0.3
PAUSE = 0.1  # before the first word, and behind the last


def utterance(
    text: str,
    *,
    language: str = "en",
    source: str = "espeak",
    speaker: str = "somebody",
    translation: str | None = None,
    padding: float = 0.0,
    timed: bool = True,
) -> Utterance:
    """`text` at 0.3 s a word, each word one phoneme; `padding` seconds of silence follow."""
    words = text.split()
    places = [0, *accumulate(len(word) + 1 for word in words)][: len(words)]
    times = [round(PAUSE + WORD * index, 2) for index in range(len(words))]
    end = round(PAUSE + WORD * len(words), 2)
    names = tuple(PHONEMES[index % len(PHONEMES)] for index in range(len(words)))
    about = Description(
        text,
        language,
        source,
        speaker,
        start=PAUSE,
        end=end,
        translation=translation,
        word_times=tuple(zip(places, times, strict=True)) if timed else (),
        phoneme_times=((0.0, ""), *zip(times, names, strict=True), (end, "")) if timed else (),
        phonemes=names,
    )
    n_frames = 2 * round((end + PAUSE + padding) * 50)
    log_power = np.full((n_frames, 80), -10, np.float16)
    rng = np.random.default_rng(len(text))
    log_power[round(PAUSE * 100) : round(end * 100)] = rng.uniform(-2, 1, (round(end * 100) - round(PAUSE * 100), 80))
    return Utterance(about, log_power)


def noise(n_frames: int = 200) -> Utterance:
    """A clip without speech."""
    rng = np.random.default_rng(n_frames)
    return Utterance(
        Description("", "en", "noise", "noise", 0, 0), rng.uniform(-3, -2, (n_frames, 80)).astype(np.float16)
    )


def english(texts: Sequence[str], **changes: str) -> list[Utterance]:
    """The texts, and two clips of noise."""
    return [*(utterance(text, **changes) for text in texts), noise(), noise(90)]
