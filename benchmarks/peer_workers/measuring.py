"""What is measured of a program, and how: the same cases for all of them, in whatever Python they need.

    window    one window of 30 s: mel, encoder, and 100 tokens chosen greedily
    beam 5    the same with five beams
    batch 8   eight windows side by side, greedily

A step is the slope between decoding 100 tokens and decoding 10: prompts and what is computed once per window drop out.
The checkpoint's special tokens are never probable (see `peer_models.py`), so that nobody ends earlier.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

N_TOKENS, N_FEW_TOKENS = 100, 10
CASES = {"window": (1, 1), "beam 5": (1, 5), "batch 8": (8, 1)}
"""Windows side by side and beams of each case."""

UNKNOWN = -1
"""Stands for a token that the program does not tell."""

Samples = np.ndarray
TokenLists = list[list[int]]


class CannotError(Exception):
    """The program does not offer this; the message is the reason."""


@dataclass(frozen=True)
class Search:
    """How to decode: no timestamps, nothing suppressed, English, transcribe."""

    n_tokens: int
    n_beams: int


@dataclass(frozen=True)
class InParts:
    """A program that hands out what its encoder made."""

    mel: Callable[[Sequence[Samples]], Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any, Search], TokenLists]


@dataclass(frozen=True)
class AsWhole:
    """A program that takes samples and gives tokens; its encoder's seconds are taken by itself."""

    transcribe: Callable[[Sequence[Samples], Search], TokenLists]
    encoder_seconds: Callable[[Sequence[Samples]], float]


Program = InParts | AsWhole


def measure(program: Program, case: str) -> dict[str, Any]:
    """Seconds of the whole case, of the encoder and of one greedy step, and the tokens.

    Raises:
        CannotError: the program does not offer this case.
    """
    n_audio, n_beams = CASES[case]
    windows = noise(n_audio)
    short = Search(N_FEW_TOKENS, n_beams) if n_beams == 1 else None
    if isinstance(program, InParts):
        return _in_parts(program, windows, Search(N_TOKENS, n_beams), short)
    return _as_whole(program, windows, Search(N_TOKENS, n_beams), short)


def noise(n_audio: int) -> list[Samples]:
    """So many different windows of 30 s; speed does not depend on what is said."""
    return [np.random.default_rng(seed).normal(0, 0.1, 480_000).astype(np.float32) for seed in range(n_audio)]


def _in_parts(program: InParts, windows: Sequence[Samples], long: Search, short: Search | None) -> dict[str, Any]:
    started = time.perf_counter()
    mel = program.mel(windows)
    heard = time.perf_counter()
    features = program.encode(mel)
    encoded = time.perf_counter()
    tokens = program.decode(features, long)
    decoded = time.perf_counter()
    answer = {"whole": decoded - started, "encoder": encoded - heard, "tokens": tokens}
    if short is None:
        return answer
    started_again = time.perf_counter()
    few = program.decode(features, short)
    in_short = time.perf_counter() - started_again
    return answer | {"step": _slope(decoded - encoded, tokens, in_short, few)}


def _as_whole(program: AsWhole, windows: Sequence[Samples], long: Search, short: Search | None) -> dict[str, Any]:
    started = time.perf_counter()
    tokens = program.transcribe(windows, long)
    whole = time.perf_counter() - started
    answer = {"whole": whole, "encoder": program.encoder_seconds(windows), "tokens": tokens}
    if short is None:
        return answer
    started = time.perf_counter()
    few = program.transcribe(windows, short)
    return answer | {"step": _slope(whole, tokens, time.perf_counter() - started, few)}


def _slope(in_long: float, tokens: TokenLists, in_short: float, few: TokenLists) -> float:
    """Seconds of one step of all sequences."""
    return (in_long - in_short) / (len(tokens[0]) - len(few[0]))
