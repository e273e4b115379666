"""Beam search: the most probable sequences of each window are prolonged side by side.

Source: openai/whisper, `BeamSearchDecoder`; patience by Kasai et al. 2022 (arXiv:2204.05424).
"""

import numpy as np

from stagewhisper.arrays import Logits, Tokens
from stagewhisper.decoding.search import Candidate, Choice, log_normalizers

Sequence = tuple[int, ...]

STRETCH = 256
"""About the root of a vocabulary's size: as much work in finding the best stretches as in looking through them."""


class BeamSearch:
    """Keeps `beam_size` open sequences for each window and collects those that have ended."""

    def __init__(self, *, n_audio: int, beam_size: int, patience: float | None, eot: int) -> None:
        self.n_group = beam_size
        self._eot = eot
        self._n_wanted = round(beam_size * (patience or 1.0))
        self._sum_logprobs = np.zeros(n_audio * beam_size, np.float32)
        self._ended: list[dict[Sequence, float]] = [{} for _ in range(n_audio)]

    def choose(self, sampled: Tokens, logits: Logits) -> Choice:
        """The best continuations of each window's beams, with the beams they continue."""
        normalizers = log_normalizers(logits)
        tokens: list[Sequence] = []
        sources: list[int] = []
        sums = self._sum_logprobs.copy()
        for audio, ended in enumerate(self._ended):
            scores, origins = self._continuations(audio, sampled, logits, normalizers)
            newly_ended: dict[Sequence, float] = {}
            n_open = 0
            for sequence in sorted(scores, key=scores.__getitem__, reverse=True):
                if sequence[-1] == self._eot:
                    newly_ended[sequence] = scores[sequence]
                    continue
                sums[len(tokens)] = scores[sequence]
                tokens.append(sequence)
                sources.append(origins[sequence])
                n_open += 1
                if n_open == self.n_group:
                    break
            self._collect(ended, newly_ended)
        self._sum_logprobs = sums
        completed = all(len(ended) >= self._n_wanted for ended in self._ended)
        return Choice(np.array(tokens, np.int64), tuple(sources), completed)

    def candidates(self, sampled: Tokens) -> list[list[Candidate]]:
        """Ended sequences of each window; where they are fewer than the beams, the best open ones fill up."""
        for audio, ended in enumerate(self._ended):
            rows = range(audio * self.n_group, (audio + 1) * self.n_group)
            by_score = np.argsort(self._sum_logprobs[rows.start : rows.stop])[::-1]
            for row in (rows[int(place)] for place in by_score):
                if len(ended) >= self.n_group:
                    break
                ended[(*sampled[row].tolist(), self._eot)] = float(self._sum_logprobs[row])
        return [[Candidate(tokens[:-1], total) for tokens, total in ended.items()] for ended in self._ended]

    def _continuations(
        self, audio: int, sampled: Tokens, logits: Logits, normalizers: tuple[np.ndarray, np.ndarray]
    ) -> tuple[dict[Sequence, float], dict[Sequence, int]]:
        """Scores of the sequences that the beams of one window may become, and the beam each comes from."""
        scores: dict[Sequence, float] = {}
        origins: dict[Sequence, int] = {}
        for row in range(audio * self.n_group, (audio + 1) * self.n_group):
            prefix = tuple(sampled[row].tolist())
            peak, log = (values[row, 0] for values in normalizers)
            # One more than there are beams, because one of them may be the end.
            for token in top(logits[row], self.n_group + 1):
                sequence = (*prefix, token)
                scores[sequence] = float(self._sum_logprobs[row] + ((logits[row, token] - peak) - log))
                origins[sequence] = row
        return scores, origins

    def _collect(self, ended: dict[Sequence, float], newly_ended: dict[Sequence, float]) -> None:
        for sequence, score in newly_ended.items():  # the best come first
            if len(ended) >= self._n_wanted:
                break
            ended[sequence] = score


def top(row: np.ndarray, n: int) -> list[int]:
    """Indices of the `n` largest values, largest first, the lower index first among equals.

    There are at least `n` values that are no smaller than the n-th largest of the stretches' maxima: one look at the
    whole row leaves few to be sorted. (Partitioning is slow on rows that are mostly -inf, see benchmarks/choices.py.)
    """
    n_whole = len(row) // STRETCH
    largest = row[: n_whole * STRETCH].reshape(n_whole, STRETCH).max(axis=1)
    least = np.sort(largest)[-n] if n_whole >= n else -np.inf
    indices = np.flatnonzero(row >= least)
    if len(indices) < n:  # what is no number is worse than any
        row, indices = np.nan_to_num(row, nan=-np.inf, posinf=np.inf, neginf=-np.inf), np.arange(len(row))
    best: list[int] = indices[np.argsort(-row[indices], kind="stable")[:n]].tolist()
    return best
