"""What the decoder is taught on a window: its tokens, what follows each, and where the alignment heads should look."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.corpus import Utterance
from training.grammar.prompts import plain
from training.kinds import POSITIONS_PER_SECOND, Kind
from training.placement import Placed
from training.pools import Pools
from training.vocabulary import IGNORED, CompactVocabulary

_NOWHERE = (-1, -1)
_MOST_PROMPT_ROWS = 100


@dataclass(frozen=True)
class Script:
    """Three lists of the same length; rows are those of the compact vocabulary."""

    tokens: list[int]
    targets: list[int]
    """The row that follows, or IGNORED."""
    focus: list[tuple[int, int]]
    """First and last position to look at while writing what follows; (-1, -1) where that is not known."""

    def give(self, row: int) -> None:
        """Add a token that the model is given and need not write."""
        self._add(row, IGNORED, _NOWHERE)

    def ask(self, row: int, focus: tuple[int, int]) -> None:
        """Add a token that the model should write while it looks at `focus`."""
        self._add(row, row, focus)

    def _add(self, row: int, target: int, focus: tuple[int, int]) -> None:
        self.targets.append(target)  # of the token before, which is the last so far
        self.focus.append(focus)
        self.tokens.append(row)


@dataclass(frozen=True)
class _Style:
    """What is drawn about a window's text."""

    translates: bool
    stamped: bool
    is_plain: bool
    prompt: list[int]
    is_late: bool
    """The first timestamp is at most 1.00, as it must be when the model is used (max_initial_timestamp)."""


def write_script(
    rng: np.random.Generator,
    vocabulary: CompactVocabulary,
    pools: Pools,
    kind: Kind,
    placed: Sequence[Placed],
    *,
    language: str,
    offset: int,
) -> Script:
    """Whisper's tokens for a window that begins at position `offset` of a whole one.

    Drawn are the task, whether there are timestamps, and whether there is a prompt; a plain prompt, in lower case
    without punctuation, is followed by plain text. A window without speech teaches `<|nospeech|>`, then nothing.
    """
    own = vocabulary.tokenizer
    style = _draw_style(rng, vocabulary, pools, kind, placed, language)
    spoken = vocabulary.language_row(language)
    tokens = [*style.prompt, vocabulary.row(own.sot), spoken]
    script = Script(
        tokens=tokens,
        targets=[*[IGNORED] * len(style.prompt), spoken if placed else vocabulary.row(own.no_speech)],
        focus=[_NOWHERE] * (len(tokens) - 1),
    )
    script.give(vocabulary.row(own.translate if style.translates else own.transcribe))
    if not style.stamped:
        script.give(vocabulary.row(own.no_timestamps))
    elif not placed:
        script.ask(vocabulary.timestamp_row(offset), _NOWHERE)
    for index, item in enumerate(placed):
        _write_utterance(script, vocabulary, item, style, offset, is_first=index == 0)
    script.targets.append(vocabulary.row(own.eot))
    script.focus.append(_NOWHERE)
    return script


def _draw_style(
    rng: np.random.Generator,
    vocabulary: CompactVocabulary,
    pools: Pools,
    kind: Kind,
    placed: Sequence[Placed],
    language: str,
) -> _Style:
    translates = language != "en" and rng.random() < 0.45
    # Without timestamps there is no way to say that an utterance goes on in the next window.
    stamped = any(item.is_cut for item in placed) or rng.random() < (0.7 if kind.whole else 0.5)
    is_prompted = rng.random() < 0.2
    is_plain = is_prompted and rng.random() < 0.4
    prompt = _prompt(rng, vocabulary, pools, "en" if translates else language, is_plain) if is_prompted else []
    return _Style(translates, stamped, is_plain, prompt, is_late=kind.whole and rng.random() < 0.5)


def _write_utterance(
    script: Script, vocabulary: CompactVocabulary, item: Placed, style: _Style, offset: int, *, is_first: bool
) -> None:
    """Append an utterance's text and timestamps; of a cut one its start alone."""
    about = item.utterance.about
    start = item.position(about.start)
    end = max(item.position(about.end), start + 1)
    if style.stamped:
        shown = min(start, POSITIONS_PER_SECOND) if style.is_late and is_first else start
        script.ask(vocabulary.timestamp_row(offset + shown), (start - 1, start + 1))
    if item.is_cut:
        return
    text = about.translation if style.translates and about.translation else about.text
    places = None if style.translates else _word_places(text, item)
    for index, word in enumerate(text.split()):
        focus = (start, end) if places is None else places[index]
        for row in vocabulary.rows(plain(word) if style.is_plain else word):
            script.ask(row, focus)
    if style.stamped:
        script.ask(vocabulary.timestamp_row(offset + end), (end - 1, end + 1))


def _prompt(
    rng: np.random.Generator, vocabulary: CompactVocabulary, pools: Pools, language: str, is_plain: bool
) -> list[int]:
    """What was said before the window: up to three other utterances."""
    rows = [vocabulary.row(vocabulary.tokenizer.sot_prev)]
    for _ in range(int(rng.integers(1, 4))):
        text = pools.draw(rng, language, pools.draw_source(rng, language)).about.text
        rows += vocabulary.rows(plain(text) if is_plain else text)
    return rows[:_MOST_PROMPT_ROWS]


def _word_places(text: str, item: Placed) -> list[tuple[int, int]] | None:
    """First and last position of each word, with one more on either side; None where the corpus does not know them."""
    spans = _word_spans(text, item.utterance)
    return None if spans is None else [(item.position(start) - 1, item.position(end) + 1) for start, end in spans]


def _word_spans(text: str, utterance: Utterance) -> list[tuple[float, float]] | None:
    """When each word is said, where the corpus knows it of every word."""
    about = utterance.about
    if len(text.split()) == 1:
        return [(about.start, about.end)]
    starts: list[float] = []
    position = 0
    for word in text.split():
        position = text.index(word, position)
        begun = [time for at, time in about.word_times if position <= at < position + len(word)]
        if not begun:
            return None
        starts.append(begun[0])
        position += len(word)
    return list(pairwise([*starts, about.end]))
