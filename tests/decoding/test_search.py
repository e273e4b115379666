"""Searches choose what openai/whisper's decoders choose, fed with the same logits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import whisper.decoding as oracle

from stagewhisper.decoding.beam_search import BeamSearch, top
from stagewhisper.decoding.greedy import Greedy
from stagewhisper.decoding.search import Candidate, best, log_softmax

N_VOCAB, EOT, N_STEPS = 40, 39, 12


def logits_after(tokens: np.ndarray) -> np.ndarray:
    """Made-up logits that depend on the whole history, so that beams matter."""
    rows = [np.random.default_rng([7, *row]).standard_normal(N_VOCAB) * 2 for row in tokens.tolist()]
    return np.array(rows, np.float32)


@pytest.mark.parametrize("beam_size", [1, 2, 5])
@pytest.mark.parametrize("patience", [None, 0.6, 2.0])
@pytest.mark.parametrize("n_audio", [1, 3])
def test_beam_search_equals_openai_whisper(beam_size: int, patience: float | None, n_audio: int) -> None:
    inference = SimpleNamespace(rearrange_kv_cache=lambda source_indices: None)
    theirs = oracle.BeamSearchDecoder(beam_size, EOT, inference, patience)  # type: ignore[arg-type]
    ours = BeamSearch(n_audio=n_audio, beam_size=beam_size, patience=patience, eot=EOT)
    # openai/whisper keeps the initial tokens in front; one stands for them, and tells the windows apart.
    initial = np.repeat(np.arange(n_audio), beam_size)[:, None]
    tokens, sums = torch.from_numpy(initial), torch.zeros(len(initial))
    sampled = np.zeros((len(initial), 0), np.int64)
    for _ in range(N_STEPS):
        tokens, completed = theirs.update(tokens, torch.from_numpy(logits_after(tokens.numpy())), sums)
        choice = ours.choose(sampled, logits_after(np.concatenate([initial, sampled], axis=1)))
        sampled = choice.tokens
        np.testing.assert_array_equal(sampled, tokens.numpy()[:, 1:])
        assert choice.completed == completed
        if completed:
            break
    expected, scores = theirs.finalize(tokens.reshape(n_audio, beam_size, -1), sums.reshape(n_audio, beam_size))
    for group, expected_group, expected_scores in zip(ours.candidates(sampled), expected, scores, strict=True):
        assert [(*candidate.tokens, EOT) for candidate in group] == [tuple(t[1:].tolist()) for t in expected_group]
        # Sums of a dozen float32 values in the same order; the logarithm's last bit may differ.
        assert [candidate.sum_logprob for candidate in group] == pytest.approx(expected_scores, abs=1e-5)


@pytest.mark.parametrize("n_audio", [1, 3])
def test_greedy_equals_openai_whisper(n_audio: int) -> None:
    theirs, ours = oracle.GreedyDecoder(0.0, EOT), Greedy(n_audio=n_audio, n_group=1, temperature=0, eot=EOT, seed=0)
    initial = np.arange(n_audio)[:, None]
    tokens, sums = torch.from_numpy(initial), torch.zeros(n_audio)
    sampled = np.zeros((n_audio, 0), np.int64)
    for _ in range(N_STEPS):
        tokens, _ = theirs.update(tokens, torch.from_numpy(logits_after(tokens.numpy())), sums)
        sampled = ours.choose(sampled, logits_after(np.concatenate([initial, sampled], axis=1))).tokens
    np.testing.assert_array_equal(sampled, tokens.numpy()[:, 1:])
    totals = [group[0].sum_logprob for group in ours.candidates(sampled)]
    assert totals == pytest.approx(sums.tolist(), abs=1e-5)  # float32 sums in the same order


def test_draws_follow_the_distribution() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.2]], np.float32))
    n_draws = 4000
    search = Greedy(n_audio=1, n_group=n_draws, temperature=1.0, eot=-1, seed=5)
    drawn = search.choose(np.zeros((n_draws, 0), np.int64), np.tile(logits, (n_draws, 1))).tokens[:, 0]
    # Three standard deviations of a share of 4000 draws are below 0.024.
    assert np.bincount(drawn, minlength=3) / n_draws == pytest.approx([0.5, 0.3, 0.2], abs=0.024)


def test_a_forbidden_token_is_never_drawn() -> None:
    logits = np.full((200, 50), -np.inf, np.float32)
    logits[:, 17] = 0
    search = Greedy(n_audio=1, n_group=200, temperature=1.0, eot=49, seed=0)
    assert (search.choose(np.zeros((200, 0), np.int64), logits).tokens == 17).all()


def test_a_window_draws_the_same_in_any_batch() -> None:
    logits = np.random.default_rng(1).standard_normal((2, 100)).astype(np.float32)
    alone = Greedy(n_audio=1, n_group=2, temperature=0.7, eot=99, seed=3)
    together = Greedy(n_audio=4, n_group=2, temperature=0.7, eot=99, seed=3)
    sampled = np.zeros((2, 0), np.int64)
    expected = alone.choose(sampled, logits).tokens
    found = together.choose(np.tile(sampled, (4, 1)), np.tile(logits, (4, 1))).tokens
    np.testing.assert_array_equal(found, np.tile(expected, (4, 1)))


@pytest.mark.parametrize("length_penalty", [None, 0.0, 0.6, 1.0])
def test_the_best_candidate_equals_openai_whisper(length_penalty: float | None) -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        group = [Candidate(tuple(range(rng.integers(1, 30))), float(-rng.random() * 20)) for _ in range(5)]
        ranker = oracle.MaximumLikelihoodRanker(length_penalty)
        tokens = [[torch.tensor(candidate.tokens) for candidate in group]]
        (expected,) = ranker.rank(tokens, [[candidate.sum_logprob for candidate in group]])
        assert best(group, length_penalty=length_penalty) is group[expected]


def test_top_orders_equal_values_by_index() -> None:
    assert top(np.array([0.0, 3.0, 1.0, 3.0, 2.0]), 3) == [1, 3, 4]


def test_top_fills_up_with_forbidden_tokens_when_nothing_else_is_left() -> None:
    assert top(np.array([-np.inf, 3.0, -np.inf, -np.inf]), 3) == [1, 0, 2]


@pytest.mark.parametrize("n_allowed", [3, 6, 1000])
def test_top_equals_torch(n_allowed: int) -> None:
    row = np.full(1000, -np.inf, np.float32)
    row[:n_allowed] = np.random.default_rng(n_allowed).standard_normal(n_allowed)
    values = torch.from_numpy(row).topk(6).values.numpy()
    np.testing.assert_array_equal(row[top(row, 6)], values)
    assert len(set(top(row, 6))) == 6


def test_log_softmax_equals_torch() -> None:
    logits = np.random.default_rng(0).standard_normal((3, 1000)).astype(np.float32) * 10
    logits[:, ::7] = -np.inf
    expected = torch.from_numpy(logits).log_softmax(dim=-1).numpy()
    np.testing.assert_allclose(log_softmax(logits), expected, atol=1e-5)  # float32 keeps 7 digits of values near 50
