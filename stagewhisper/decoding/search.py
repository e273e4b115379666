"""What greedy decoding, sampling and beam search have in common: they choose the next tokens and keep candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from stagewhisper.arrays import Logits, Tokens

LogProbs = Float32[np.ndarray, "n_seq n_vocab"]


@dataclass(frozen=True)
class Candidate:
    """A decoded sequence with its score."""

    tokens: tuple[int, ...]
    """Sampled tokens, the end not included."""
    sum_logprob: float


@dataclass(frozen=True)
class Choice:
    """What a search wants next."""

    tokens: Tokens
    """All sampled tokens of every sequence, the newest included, [n_seq, n_sampled]."""
    source_indices: tuple[int, ...]
    """Which sequence each one continues."""
    completed: bool
    """Nothing is left to decode."""


@runtime_checkable
class Search(Protocol):
    """Keeps `n_group` sequences for each window, from the first token to the candidates."""

    n_group: int

    def choose(self, sampled: Tokens, logits: Logits) -> Choice:
        """The next token of every sequence, from filtered logits."""
        ...

    def candidates(self, sampled: Tokens) -> list[list[Candidate]]:
        """The sequences of each window, once decoding has ended."""
        ...


def log_softmax(logits: Logits) -> LogProbs:
    """Logarithms of the probabilities."""
    peaks, logs = log_normalizers(logits)
    logprobs: LogProbs = logits - peaks
    logprobs -= logs
    return logprobs


def log_normalizers(logits: Logits) -> tuple[np.ndarray, np.ndarray]:
    """The largest logit of each sequence, and the logarithm of Σ exp(logit − largest); both [n_seq, 1].

    A log-probability is (logit − first) − second: whoever wants a few of them need not compute those of all tokens.
    """
    peaks = logits.max(axis=-1, keepdims=True)
    shifted = logits - peaks
    return peaks, np.log(np.exp(shifted, out=shifted).sum(axis=-1, keepdims=True))


def best(candidates: Sequence[Candidate], *, length_penalty: float | None) -> Candidate:
    """The candidate of the highest score per length.

    Source: openai/whisper, `MaximumLikelihoodRanker`; Wu et al. 2016 (arXiv:1609.08144), section 7.
    """

    def score(candidate: Candidate) -> float:
        length = len(candidate.tokens)
        if length_penalty is None:
            # No token at all would divide by zero: openai/whisper gets -inf or nan there, and never prefers it.
            return candidate.sum_logprob / length if length else -np.inf
        return float(candidate.sum_logprob / ((5 + length) / 6) ** length_penalty)

    return max(candidates, key=score)
