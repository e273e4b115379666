"""Each filter forbids exactly what openai/whisper's own forbids."""

import numpy as np
import pytest
import torch
import whisper.decoding as oracle
from whisper.tokenizer import get_tokenizer

from stagewhisper.decoding.logit_filters import (
    logit_filters,
    suppress_blank,
    suppressed_tokens,
    timestamp_rules,
)
from stagewhisper.decoding.options import DecodingOptions
from stagewhisper.errors import OptionError
from stagewhisper.tokenizer import load_tokenizer

OURS = load_tokenizer(51865)
THEIRS = get_tokenizer(multilingual=True, language="en", task="transcribe")
BEGIN = OURS.timestamp_begin
N_INITIAL = 4


def histories() -> list[list[int]]:
    """Sampled tokens of all the shapes that the timestamp rules tell apart."""
    text, other = 1000, 2000
    return [
        [],
        [BEGIN],
        [BEGIN + 3],
        [BEGIN, text],
        [BEGIN, text, BEGIN + 10],
        [BEGIN, text, BEGIN + 10, BEGIN + 10],
        [BEGIN, text, BEGIN + 10, BEGIN + 40, other],
        [BEGIN, text, BEGIN + 1500],
        [text, other],
        [text, BEGIN + 7],
    ]


def forbidden_by_oracle(logit_filter: oracle.LogitFilter, logits: np.ndarray, history: list[int]) -> np.ndarray:
    tensor = torch.from_numpy(logits.copy())
    tokens = torch.tensor([list(range(N_INITIAL)) + history])
    logit_filter.apply(tensor, tokens)
    return tensor.numpy()


@pytest.mark.parametrize("history", histories())
@pytest.mark.parametrize("favoured", ["text", "timestamps", "neither"])
@pytest.mark.parametrize("latest", [None, 50])
def test_timestamp_rules_equal_openai_whisper(history: list[int], favoured: str, latest: int | None) -> None:
    logits = np.random.default_rng(len(history)).standard_normal((1, OURS.n_vocab)).astype(np.float32)
    if favoured == "text":
        logits[:, 5000] += 20
    elif favoured == "timestamps":
        logits[:, BEGIN:] += 8
    expected = forbidden_by_oracle(oracle.ApplyTimestampRules(THEIRS, N_INITIAL, latest), logits, history)
    timestamp_rules(OURS, max_initial_timestamp_index=latest)(logits, np.array([history], np.int64).reshape(1, -1))
    np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("history", [[], [BEGIN]])
def test_blank_is_suppressed_at_the_first_position_only(history: list[int]) -> None:
    logits = np.zeros((1, OURS.n_vocab), np.float32)
    expected = forbidden_by_oracle(oracle.SuppressBlank(THEIRS, N_INITIAL), logits, history)
    suppress_blank(OURS)(logits, np.array([history], np.int64).reshape(1, -1))
    np.testing.assert_array_equal(logits, expected)
    assert bool(np.isneginf(logits).any()) == (not history)


@pytest.mark.parametrize("option", ["-1", "-1,50,60", "50,60", [50, -1], [7]])
def test_suppressed_tokens_equal_openai_whisper(option: str | list[int]) -> None:
    task = oracle.DecodingTask.__new__(oracle.DecodingTask)
    task.tokenizer = THEIRS
    task.options = oracle.DecodingOptions(suppress_tokens=list(option) if isinstance(option, list) else option)
    assert suppressed_tokens(OURS, option) == task._get_suppress_tokens()


@pytest.mark.parametrize("option", [None, "", []])
def test_nothing_is_suppressed_when_the_option_is_empty(option: str | list[int] | None) -> None:
    assert suppressed_tokens(OURS, option) == ()


@pytest.mark.parametrize("option", ["a", "1,,2", "99999", "-5"])
def test_impossible_token_ids_are_named(option: str) -> None:
    with pytest.raises(OptionError, match="suppress_tokens"):
        suppressed_tokens(OURS, option)


def test_suppressing_every_text_token_is_refused() -> None:
    with pytest.raises(OptionError, match="every token"):
        suppressed_tokens(OURS, list(range(OURS.n_vocab)))


def test_timestamps_are_free_when_they_are_not_asked_for() -> None:
    filters = logit_filters(OURS, DecodingOptions(without_timestamps=True), n_audio_ctx=1500)
    logits = np.zeros((1, OURS.n_vocab), np.float32)
    for apply in filters:
        apply(logits, np.zeros((1, 0), np.int64))
    assert np.isfinite(logits[:, 1000]).all()
