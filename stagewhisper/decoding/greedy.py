"""Greedy decoding, and sampling: each sequence takes one token after the other, on its own."""

import numpy as np

from stagewhisper.arrays import Logits, Tokens
from stagewhisper.decoding.search import Candidate, Choice, log_normalizers
from stagewhisper.engines.generation import Generation


class Greedy:
    """Takes the most probable token at temperature 0, or draws one above it.

    The draws depend on seed, temperature, step and place in the group only. A window thus gets the same text
    alone, in a batch, or in another thread.
    """

    def __init__(self, *, n_audio: int, n_group: int, temperature: float, eot: int, seed: int) -> None:
        self.n_group = n_group
        self._temperature = temperature
        self._eot = eot
        self._n_audio = n_audio
        self._sum_logprobs = np.zeros(n_audio * n_group, np.float32)
        self._rng = np.random.default_rng([seed, round(temperature * 1e6)])

    def choose(self, sampled: Tokens, logits: Logits) -> Choice:
        """The next token of every sequence; one that has ended goes on ending."""
        ended = sampled[:, -1] == self._eot if sampled.shape[1] else np.zeros(len(sampled), bool)
        chosen = self._draw(logits) if self._temperature > 0 else logits.argmax(axis=-1)
        peaks, logs = log_normalizers(logits)
        logprobs = (logits[np.arange(len(chosen)), chosen] - peaks[:, 0]) - logs[:, 0]
        self._sum_logprobs += np.where(ended, np.float32(0), logprobs)
        chosen = np.where(ended, self._eot, chosen).astype(np.int64)
        tokens = np.concatenate([sampled, chosen[:, None]], axis=1)
        return Choice(tokens, tuple(range(len(tokens))), completed=bool((chosen == self._eot).all()))

    def candidates(self, sampled: Tokens) -> list[list[Candidate]]:
        """The sequences of each window."""
        sequences = [
            Candidate(until(row.tolist(), self._eot), float(total))
            for row, total in zip(sampled, self._sum_logprobs, strict=True)
        ]
        return [sequences[first : first + self.n_group] for first in range(0, len(sequences), self.n_group)]

    def noise(self, n_vocab: int) -> Logits:
        """The next step's Gumbel noise for the sequences of a window, [n_group, n_vocab]."""
        exponential = self._rng.standard_exponential((self.n_group, n_vocab), dtype=np.float32)
        gumbel: Logits = -np.log(np.maximum(exponential, np.finfo(np.float32).tiny))
        return gumbel

    def take(self, generation: Generation) -> Tokens:
        """The tokens that an engine has chosen by itself; their scores are kept for `candidates`."""
        self._sum_logprobs = generation.sum_logprobs
        return generation.tokens

    def _draw(self, logits: Logits) -> np.ndarray:
        """A draw from softmax(logits / temperature), as the maximum of logits with Gumbel noise added."""
        noise = self.noise(logits.shape[1])
        scaled = logits / np.float32(self._temperature) + np.tile(noise, (self._n_audio, 1))
        drawn: np.ndarray = scaled.argmax(axis=-1)
        return drawn


def until(tokens: list[int], eot: int) -> tuple[int, ...]:
    """The tokens before the first end."""
    return tuple(tokens[: tokens.index(eot)] if eot in tokens else tokens)
