"""Digits and commands cut out of AN4's recordings: `python -m training.single_words WORK_FOLDER --state WORK/second`.

FSDD has two speakers to train on, AN4 has 65, whose digits stand in addresses and telephone numbers. A model that has
been trained on both hears where each phoneme lies, so a later training gets single words from all of AN4's throats.
The cuts are taken from every copy of a recording that the corpus has, and written to WORK/corpus as one more part.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training import espeak
from training.command import run
from training.corpus import Description, Utterance, read_corpus, speech_limits, writing_corpus
from training.grammar.pronunciation import spoken
from training.model import Nano
from training.run_folder import load_model

SOURCE = "an4-words"
_DIGITS = "zero oh one two three four five six seven eight nine"
_COMMANDS = "enter erase go help no repeat rubout start stop yes"
_WORDS = frozenset(f"{_DIGITS} {_COMMANDS}".split())
_MARGIN = 5  # positions of silence that a cut keeps on each side, where there are any
_SHORTEST, _LONGEST = 7, 60  # positions; what lies outside was not aligned well
_LEAST_SCORE = -2.5  # mean log probability of a word's positions


@dataclass(frozen=True)
class Span:
    """Where a word lies: positions of 0.02 s, the last one not included, and how sure that is."""

    first: int
    last: int
    score: float
    """Mean log probability of its phonemes at its positions."""


def main() -> None:
    """Write the part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--state", type=Path, required=True, help="the folder of a trained state.pt")
    arguments = parser.parse_args()
    model, _, phoneme_ids = load_model(arguments.state)
    utterances = read_corpus(arguments.work / "corpus", ["an4"])
    said = {word: _phonemes(word) for utterance in utterances for word in _words(utterance)}
    with writing_corpus(arguments.work / "corpus", SOURCE) as corpus:
        for utterance in utterances:
            for about, log_power in cuts(utterance, model, said, phoneme_ids):
                corpus.add_log_power(about, log_power)
    print(f"{SOURCE}: {corpus.n_utterances} words out of {len(utterances)} utterances")


def cuts(
    utterance: Utterance, model: Nano, said: Mapping[str, Sequence[str]], phoneme_ids: Mapping[str, int]
) -> Iterator[tuple[Description, NDArray[np.float16]]]:
    """The digits and commands of an utterance, each with its sound.

    `said` tells the phonemes of every word.
    """
    words = _words(utterance)
    if not _WORDS & {word.lower() for word in words}:
        return
    labels = [[phoneme_ids[name] for name in said[word] if name in phoneme_ids] for word in words]
    spans = align(phoneme_probabilities(model, utterance.log_power), labels)
    before = [0, *(span.last for span in spans[:-1])]  # where the word before ends, and below where the next begins
    after = [*(span.first for span in spans[1:]), len(utterance.log_power) // 2]
    for word, span, earliest, latest in zip(words, spans, before, after, strict=True):
        n_positions = span.last - span.first
        if word.lower() not in _WORDS or span.score < _LEAST_SCORE or not _SHORTEST <= n_positions <= _LONGEST:
            continue
        first, last = max(span.first - _MARGIN, earliest), min(span.last + _MARGIN, latest)
        log_power = utterance.log_power[2 * first : 2 * last]
        start, end = speech_limits(log_power)
        about = Description(
            f"{word.capitalize()}.", "en", SOURCE, utterance.about.speaker, start, end, phonemes=tuple(said[word])
        )
        yield about, log_power


@torch.no_grad()
def phoneme_probabilities(model: Nano, log_power: NDArray[np.float16]) -> NDArray[np.float32]:
    """Log probability of each phoneme at each position: "n_positions n_phonemes"."""
    spectrum = log_power.astype(np.float32)
    spectrum = (np.maximum(spectrum, spectrum.max() - 8) + 4) / 4
    features = model.encoder(torch.from_numpy(spectrum.T[None].copy()), torch.zeros(1, dtype=torch.long))
    probabilities: NDArray[np.float32] = model.phoneme_head(features)[0].log_softmax(-1).numpy()
    return probabilities


def align(log_probabilities: NDArray[np.float32], words: Sequence[Sequence[int]]) -> list[Span]:
    """Where each word lies in the likeliest path through all phonemes, with silence (0) anywhere between them.

    Every phoneme takes one position at least. This is the alignment of CTC (Graves et al. 2006) on probabilities that
    were learnt position by position.
    """
    labels = [label for word in words for label in word]
    states = np.zeros(2 * len(labels) + 1, np.int64)
    states[1::2] = labels
    may_skip = np.zeros(len(states), bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    path = _likeliest_path(log_probabilities[:, states], may_skip)
    scores = log_probabilities[np.arange(len(path)), states[path]]
    spans, done = [], 0
    for word in words:
        inside = np.flatnonzero((path >= 2 * done + 1) & (path <= 2 * (done + len(word)) - 1))
        done += len(word)
        if len(inside):
            spans.append(Span(int(inside[0]), int(inside[-1]) + 1, float(scores[inside].mean())))
        else:
            at = spans[-1].last if spans else 0
            spans.append(Span(at, at, -np.inf))
    return spans


def _likeliest_path(gains: NDArray[np.float32], may_skip: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The state at each position: the same, the next, or the one after where that may be; from the start to the end."""
    n_positions, n_states = gains.shape
    best = np.full(n_states, -np.inf)
    best[:2] = gains[0, :2]
    steps = np.zeros((n_positions, n_states), np.int64)
    for position in range(1, n_positions):
        choices = np.full((3, n_states), -np.inf)
        choices[0] = best
        choices[1, 1:] = best[:-1]
        choices[2, 2:] = np.where(may_skip[2:], best[:-2], -np.inf)
        steps[position] = choices.argmax(0)
        best = choices.max(0) + gains[position]
    state = n_states - 1 if best[-1] >= best[-2] else n_states - 2
    path = np.zeros(n_positions, np.int64)
    for position in range(n_positions - 1, -1, -1):
        path[position] = state
        state -= steps[position, state]
    return path


def _words(utterance: Utterance) -> list[str]:
    return utterance.about.text.rstrip(".").split()


def _phonemes(word: str) -> tuple[str, ...]:
    return tuple(espeak.phonemes(spoken(word, "en")[0], voice="en-us"))


if __name__ == "__main__":
    run(main)
