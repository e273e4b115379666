"""Windows to learn from: utterances placed in time, changed, with noise, and the tokens that describe them.

A short window stands for a cut out of a 30-second one: it begins at a random position, and its timestamps are the
positions in the whole. So every position and timestamp is learnt long before the first 30-second window.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import changed, draw_change, masked, with_noise
from training.corpus import Utterance
from training.grammar.prompts import plain
from training.vocabulary import CompactVocabulary

IGNORED = -100
POSITIONS_PER_SECOND = 50
N_POSITIONS = 1500
_FLOOR = -10.0
_LEAST_CUT = 15  # positions of a cut utterance that are heard at least
_SILENCE = 0  # the phoneme of silence, and CTC's blank


@dataclass(frozen=True)
class Kind:
    """One kind of window: how long, how many at once, how it is filled."""

    seconds: float
    batch: int
    most_utterances: int
    whole: bool = False
    """Begins at position 0, as a window does when the model is used."""
    guided: bool = True


@dataclass(frozen=True)
class Batch:
    """Tensors of a batch of windows; see `Nano.forward` for the first three."""

    mel: Tensor
    offsets: Tensor
    tokens: Tensor
    targets: Tensor
    """The next row for each token, or IGNORED."""
    phonemes: Tensor
    """The phoneme at each position, or IGNORED."""
    ctc_targets: Tensor
    ctc_lengths: Tensor
    """Phonemes of each window; -1 where they are not known."""
    focus: Tensor
    """"batch n_tokens 2": the first and last position that the alignment heads should look at; -1 where unknown."""


@dataclass
class _Window:
    spectrum: NDArray[np.float32]
    phonemes: NDArray[np.int64]
    tokens: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    focus: list[tuple[int, int]] = field(default_factory=list)
    ctc: list[int] | None = None
    """The phonemes in order; None where they are not known."""


@dataclass(frozen=True)
class _Placed:
    """An utterance in its window: times are positions of 0.02 s from the window's beginning."""

    utterance: Utterance
    spectrum: NDArray[np.float32]
    first: int
    tempo: float
    is_cut: bool = False
    """The window ends before the utterance does: only its start is written, so that the next window begins there."""

    def position(self, time: float) -> int:
        return self.first + round(time * self.tempo * POSITIONS_PER_SECOND)

    @property
    def last(self) -> int:
        return self.first + len(self.spectrum) // 2


class Windows:
    """Draws windows without end."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        weights: Mapping[tuple[str, str], float],
        vocabulary: CompactVocabulary,
        phoneme_ids: Mapping[str, int],
        seed: int | list[int],
    ) -> None:
        """`weights` says how often each (language, source) is drawn."""
        self.rng = np.random.default_rng(seed)
        self.vocabulary = vocabulary
        self.phoneme_ids = phoneme_ids
        pools: dict[tuple[str, str], list[Utterance]] = {}
        for utterance in utterances:
            pools.setdefault((utterance.about.language, utterance.about.source), []).append(utterance)
        self.noises = pools.pop(("en", "noise"))
        self.pools = {key: pool for key, pool in pools.items() if weights.get(key, 0) > 0}
        self.languages = sorted({language for language, _ in self.pools})
        self.weights = weights

    def batch(self, kind: Kind) -> Batch:
        """A batch of windows of one kind."""
        offsets, windows = [], []
        for _ in range(kind.batch):
            offset = (
                0
                if kind.whole
                else int(self.rng.integers(0, N_POSITIONS - int(kind.seconds * POSITIONS_PER_SECOND) + 1))
            )
            offsets.append(offset)
            windows.append(self._window(kind, offset))
        return _collated(windows, offsets, self.vocabulary)

    def _window(self, kind: Kind, offset: int) -> _Window:
        n_positions = int(kind.seconds * POSITIONS_PER_SECOND)
        language = self._draw_language()
        placed = [] if self.rng.random() < 0.04 else self._place(kind, language, n_positions)
        window = _Window(self._spectrum(placed, n_positions), self._phonemes(placed, n_positions))
        if not any(item.is_cut for item in placed):
            window.ctc = [self.phoneme_ids[name] for item in placed for name in item.utterance.about.phonemes]
        self._write(window, placed, language, kind, offset)
        return window

    def _draw_language(self) -> str:
        totals = np.array([sum(self.weights[key] for key in self.pools if key[0] == code) for code in self.languages])
        return str(self.rng.choice(self.languages, p=totals / totals.sum()))

    def _draw(self, language: str, source: str) -> Utterance:
        pool = self.pools[language, source]
        return pool[self.rng.integers(len(pool))]

    def _draw_source(self, language: str) -> str:
        sources = [source for code, source in self.pools if code == language]
        weights = np.array([self.weights[language, source] for source in sources])
        return str(self.rng.choice(sources, p=weights / weights.sum()))

    def _place(self, kind: Kind, language: str, n_positions: int) -> list[_Placed]:
        """Utterances one after the other, as many as there is room for."""
        placed: list[_Placed] = []
        n_wanted = int(self.rng.integers(1, kind.most_utterances + 1))
        source, speaker_stays = self._draw_source(language), self.rng.random() < 0.7
        at, attempts = self._gap(first=True, lone=n_wanted == 1), 0
        while len(placed) < n_wanted and attempts < n_wanted + 6:
            attempts += 1
            if not speaker_stays:
                source = self._draw_source(language)
            utterance = self._draw(language, source)
            change = draw_change(self.rng, narrow=0.3 if utterance.about.source in ("fsdd", "an4") else 0.15)
            n_frames = max(2, 2 * round(len(utterance.log_power) * change.tempo / 2))
            if at + n_frames // 2 > n_positions:
                if not placed and n_frames // 2 <= n_positions:
                    at = 0
                elif placed and kind.whole and n_positions - at > _LEAST_CUT and self.rng.random() < 0.5:
                    spectrum = changed(utterance.log_power, change)
                    tempo = len(spectrum) / len(utterance.log_power)
                    return [*placed, _Placed(utterance, spectrum[: 2 * (n_positions - at)], at, tempo, is_cut=True)]
                elif not placed and attempts > 5:
                    break
                else:
                    continue
            spectrum = changed(utterance.log_power, change)
            if self.rng.random() < 0.3:
                spectrum = masked(spectrum, self.rng)
            placed.append(_Placed(utterance, spectrum, at, len(spectrum) / len(utterance.log_power)))
            at = placed[-1].last + self._gap(first=False, lone=False)
        return placed

    def _gap(self, *, first: bool, lone: bool) -> int:
        if first and (lone or self.rng.random() < 0.7):
            return int(self.rng.choice([0, 0, self.rng.integers(0, 25), self.rng.integers(0, 45)]))
        return int(self.rng.integers(12, 70))

    def _spectrum(self, placed: Sequence[_Placed], n_positions: int) -> NDArray[np.float32]:
        """Log power of the whole window, "2·n_positions n_mels"."""
        spectrum = np.full((2 * n_positions, 80), _FLOOR, np.float32)
        for item in placed:
            spectrum[2 * item.first : 2 * item.first + len(item.spectrum)] = item.spectrum
        if self.rng.random() < (0.65 if placed else 0.7):
            level = (
                float(np.percentile(np.concatenate([item.spectrum.max(1) for item in placed]), 90)) if placed else 0.0
            )
            spectrum = self._noisy(spectrum, level, covered=placed[-1].last if placed else n_positions)
        return spectrum

    def _noisy(self, spectrum: NDArray[np.float32], level: float, covered: int) -> NDArray[np.float32]:
        clip = self.noises[self.rng.integers(len(self.noises))].log_power.astype(np.float32)
        # A recording's noise ends with the recording; the padding behind it is perfectly silent.
        n_frames = (
            len(spectrum)
            if self.rng.random() < 0.4
            else min(len(spectrum), 2 * covered + int(self.rng.integers(0, 60)))
        )
        start = int(self.rng.integers(len(clip)))
        noise = np.tile(np.roll(clip, start, axis=0), (n_frames // len(clip) + 1, 1))[:n_frames]
        ratio = self.rng.uniform(0.6, 4.5)  # of log10 power: 6 to 45 dB
        noise = noise - float(np.percentile(noise.max(1), 90)) + level - ratio
        out = spectrum.copy()
        out[:n_frames] = with_noise(out[:n_frames], np.maximum(noise, _FLOOR))
        return out

    def _phonemes(self, placed: Sequence[_Placed], n_positions: int) -> NDArray[np.int64]:
        labels = np.full(n_positions, _SILENCE)
        for item in placed:
            about = item.utterance.about
            labels[item.first : item.last] = _SILENCE if about.phoneme_times else IGNORED  # slices end with the window
            for (time, name), (until, _) in pairwise([*about.phoneme_times, (item.utterance.duration, "")]):
                if name:
                    labels[item.position(time) : item.position(until)] = self.phoneme_ids[name]
        return labels

    def _write(self, window: _Window, placed: Sequence[_Placed], language: str, kind: Kind, offset: int) -> None:
        """The tokens, what follows each, and where the alignment heads should look."""
        rng, vocabulary, own = self.rng, self.vocabulary, self.vocabulary.tokenizer
        translates = language != "en" and rng.random() < 0.35
        # Without timestamps there is no way to say that an utterance goes on in the next window.
        stamped = any(item.is_cut for item in placed) or rng.random() < (0.7 if kind.whole else 0.5)
        is_plain = False
        prompt: list[int] = []
        if rng.random() < 0.2:
            is_plain = rng.random() < 0.4
            prompt = self._prompt(language if not translates else "en", is_plain)
        eot = vocabulary.row(own.eot)
        spoken = vocabulary.language_row(language)
        task = vocabulary.row(own.translate if translates else own.transcribe)
        window.tokens = [*prompt, vocabulary.row(own.sot), spoken, task]
        first_target = spoken if placed else vocabulary.row(own.no_speech)
        window.targets = [IGNORED] * len(prompt) + [first_target, IGNORED]
        window.focus = [(-1, -1)] * (len(prompt) + 2)
        if not stamped:
            window.tokens.append(vocabulary.row(own.no_timestamps))
            window.targets.append(IGNORED)
            window.focus.append((-1, -1))
        late = kind.whole and rng.random() < 0.5
        if stamped and not placed:
            _append(window, vocabulary.timestamp_row(offset), (-1, -1))
        for index, item in enumerate(placed):
            about = item.utterance.about
            start, end = item.position(about.start), max(item.position(about.end), item.position(about.start) + 1)
            if stamped:
                # The first timestamp of a window is at most 1.00 when the model is used (max_initial_timestamp).
                written = min(start, POSITIONS_PER_SECOND) if late and index == 0 else start
                _append(window, vocabulary.timestamp_row(offset + written), (start - 1, start + 1))
            if item.is_cut:
                break
            text = about.translation if translates and about.translation else about.text
            for rows, focus in self._words(text, item, (start, end), with_times=not translates, is_plain=is_plain):
                for row in rows:
                    _append(window, row, focus)
            if stamped:
                _append(window, vocabulary.timestamp_row(offset + end), (end - 1, end + 1))
        window.targets.append(eot)
        window.focus.append((-1, -1))

    def _words(
        self, text: str, item: _Placed, span: tuple[int, int], *, with_times: bool, is_plain: bool
    ) -> Iterator[tuple[list[int], tuple[int, int]]]:
        """Each word's rows and its place in the window; the utterance's place where its own is not known."""
        times = _word_spans(text, item.utterance) if with_times else None
        for index, word in enumerate(text.split()):
            focus = span
            if times is not None:
                focus = (item.position(times[index][0]) - 1, item.position(times[index][1]) + 1)
            yield from ((rows, focus) for rows in self.vocabulary.words(plain(word) if is_plain else word))

    def _prompt(self, language: str, is_plain: bool) -> list[int]:
        rows = [self.vocabulary.row(self.vocabulary.tokenizer.sot_prev)]
        for _ in range(int(self.rng.integers(1, 4))):
            text = self._draw(language, self._draw_source(language)).about.text
            rows += [row for word in self.vocabulary.words(plain(text) if is_plain else text) for row in word]
        return rows[:100]


def _append(window: _Window, row: int, focus: tuple[int, int]) -> None:
    """The token `row` is the target of the last token so far, whose attention belongs at `focus`."""
    window.targets.append(row)
    window.focus.append(focus)
    window.tokens.append(row)


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


def _collated(windows: Sequence[_Window], offsets: Sequence[int], vocabulary: CompactVocabulary) -> Batch:
    n_tokens = max(len(window.tokens) for window in windows)
    n_labels = max(1, *(len(window.ctc or ()) for window in windows))
    tokens = torch.full((len(windows), n_tokens), vocabulary.row(vocabulary.tokenizer.eot))
    targets = torch.full((len(windows), n_tokens), IGNORED)
    focus = torch.full((len(windows), n_tokens, 2), -1)
    ctc = torch.zeros((len(windows), n_labels), dtype=torch.long)
    for row, window in enumerate(windows):
        n = len(window.tokens)
        tokens[row, :n] = torch.tensor(window.tokens)
        targets[row, :n] = torch.tensor(window.targets)
        focus[row, :n] = torch.tensor(window.focus)
        ctc[row, : len(window.ctc or ())] = torch.tensor(window.ctc or (), dtype=torch.long)
    spectra = np.stack([window.spectrum for window in windows])
    highest = spectra.max(axis=(1, 2), keepdims=True)
    mel = (np.maximum(spectra, highest - 8) + 4) / 4
    return Batch(
        mel=torch.from_numpy(np.ascontiguousarray(mel.transpose(0, 2, 1), dtype=np.float32)),
        offsets=torch.tensor(offsets),
        tokens=tokens,
        targets=targets,
        phonemes=torch.from_numpy(np.stack([window.phonemes for window in windows])),
        ctc_targets=ctc,
        ctc_lengths=torch.tensor([-1 if window.ctc is None else len(window.ctc) for window in windows]),
        focus=focus,
    )
