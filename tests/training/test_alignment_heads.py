import pytest
import torch

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from tests.training.made_up import utterance
from tests.training.small_nano import small_nano
from training import alignment_heads
from training.alignment_heads import find_alignment_heads, score_heads
from training.batch import Batch
from training.kinds import Kind
from training.vocabulary import phoneme_ids_of, vocabulary_of
from training.windows import Windows

SAID = [utterance("Turn on the light."), utterance("Open the door."), utterance("Siete.", language="es")]
PLANTED = (1, 0)


def test_a_head_planted_to_follow_the_words_is_found(monkeypatch: pytest.MonkeyPatch):
    vocabulary = vocabulary_of(SAID)
    model = small_nano(vocabulary)
    batches: list[Batch] = []
    draw = Windows.batch

    def remembered(windows: Windows, kind: Kind) -> Batch:
        batches.append(draw(windows, kind))
        return batches[-1]

    def attention(mel: torch.Tensor, offsets: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Evenly everywhere, but for one head that looks at the middle of the word."""
        n_positions = mel.shape[2] // 2
        weights = torch.full((2, len(mel), 2, tokens.shape[1], n_positions), 1 / n_positions)
        middle = batches[-1].focus.clamp(min=0).sum(-1) // 2
        layer, head = PLANTED
        weights[layer, :, head] = torch.nn.functional.one_hot(middle, n_positions).float()
        return weights

    monkeypatch.setattr(Windows, "batch", remembered)
    monkeypatch.setattr(model, "cross_attention", attention)
    monkeypatch.setattr(alignment_heads, "_N_BATCHES", 1)
    scores = score_heads(model, vocabulary, phoneme_ids_of(SAID), SAID)
    assert scores[PLANTED] == 1
    assert find_alignment_heads(scores) == [PLANTED]
    others = [scores[layer, head] for layer in range(2) for head in range(2) if (layer, head) != PLANTED]
    assert all(0 < score < 0.05 for score in others)  # a word's share of 30 s


def test_heads_nearly_as_good_as_the_best_are_taken_too():
    scores = torch.tensor([[0.10, 0.69], [0.80, 0.67]])
    assert find_alignment_heads(scores) == [(0, 1), (1, 0)]


def test_the_scores_of_a_model_are_the_same_each_time():
    vocabulary = vocabulary_of(SAID)
    model = small_nano(vocabulary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment_heads, "_N_BATCHES", 1)
        patch.setattr(alignment_heads, "_WINDOW", Kind(30, 2, 4, whole=True))
        first, second = (score_heads(model, vocabulary, phoneme_ids_of(SAID), SAID) for _ in range(2))
    assert torch.equal(first, second)
    assert ((first > 0) & (first < 1)).all()
