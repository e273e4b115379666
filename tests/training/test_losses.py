import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 PyTorch's own name for it

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from training.losses import Losses, ctc_loss, focus_loss

NOWHERE = [-1, -1]


def test_the_focus_loss_is_what_a_reader_works_out_by_hand():
    weights = torch.tensor([[[[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]]]])  # one head, one window, two tokens
    focus = torch.tensor([[[1, 2], [3, 3]]])
    expected = -(math.log(0.2 + 0.3) + math.log(0.25)) / 2
    assert focus_loss(weights.log(), focus).item() == pytest.approx(expected)


def test_the_focus_loss_is_the_mean_over_heads():
    weights = torch.tensor([[[[0.5, 0.5]]], [[[0.1, 0.9]]]])
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert focus_loss(weights.log(), torch.tensor([[[0, 0]]])).item() == pytest.approx(expected)


def test_tokens_without_a_known_place_do_not_count():
    weights = torch.tensor([[[[0.1, 0.9], [0.5, 0.5]]]])
    known = focus_loss(weights[:, :, :1].log(), torch.tensor([[[0, 0]]]))
    assert focus_loss(weights.log(), torch.tensor([[[0, 0], NOWHERE]])) == known
    assert focus_loss(weights.log(), torch.tensor([[NOWHERE, NOWHERE]])).item() == 0
    assert focus_loss(weights.log(), torch.tensor([[[5, 9], NOWHERE]])).item() == 0  # behind the window's end


def test_a_place_at_the_edge_counts_as_far_as_it_is_heard():
    weights = torch.tensor([[[[0.1, 0.2, 0.7]]]])
    assert focus_loss(weights.log(), torch.tensor([[[-1, 0]]])).item() == pytest.approx(-math.log(0.1))
    assert focus_loss(weights.log(), torch.tensor([[[2, 4]]])).item() == pytest.approx(-math.log(0.7))


def test_attention_far_away_costs_no_more_than_twenty():
    log_weights = torch.tensor([[[[-50.0, 0.0]]]])
    assert focus_loss(log_weights, torch.tensor([[[0, 0]]])).item() == 20


def test_the_focus_loss_pulls_attention_to_the_word():
    scores = torch.zeros(1, 1, 1, 4, requires_grad=True)
    focus_loss(scores.log_softmax(-1), torch.tensor([[[2, 2]]])).backward()
    assert scores.grad is not None
    assert scores.grad.flatten()[2] < 0 < scores.grad.flatten()[0]


def test_ctc_counts_each_label_once_and_leaves_out_windows_whose_labels_are_unknown():
    torch.manual_seed(0)
    logits = torch.randn(3, 12, 5)
    targets = torch.tensor([[1, 2, 3], [4, 0, 0], [2, 2, 0]])
    n_labels = torch.tensor([3, -1, 2])

    def alone(index: int, labels: list[int]) -> float:
        loss = F.ctc_loss(
            logits[index].log_softmax(-1), torch.tensor(labels), torch.tensor(12), torch.tensor(len(labels)),
            reduction="sum",
        )  # fmt: skip
        return loss.item() / len(labels)

    expected = (alone(0, [1, 2, 3]) + alone(2, [2, 2])) / 2
    assert ctc_loss(logits, targets, n_labels).item() == pytest.approx(expected, rel=1e-5)


def test_ctc_teaches_silence_where_there_are_no_phonemes():
    logits = torch.zeros(1, 4, 3)
    expected = 4 * math.log(3)  # four blanks, each of probability a third
    loss = ctc_loss(logits, torch.zeros(1, 1, dtype=torch.long), torch.tensor([0]))
    assert loss.item() == pytest.approx(expected)


def test_ctc_of_nothing_known_is_nothing():
    assert ctc_loss(torch.zeros(2, 4, 3), torch.zeros(2, 1, dtype=torch.long), torch.tensor([-1, -1])).item() == 0


@pytest.mark.parametrize(("progress", "hearing"), [(0.0, 1.0), (0.3, 0.65), (0.6, 0.3), (1.0, 0.3)])
def test_hearing_counts_less_and_less(progress: float, hearing: float):
    parts = Losses(*(torch.tensor(value) for value in (1.0, 10.0, 100.0, 1000.0)))
    assert parts.total(progress).item() == pytest.approx(1 + hearing * (5 + 30) + 200)
