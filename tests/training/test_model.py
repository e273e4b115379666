import pytest
import torch

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from tests.training.small_nano import SHAPE, small_nano, small_vocabulary
from training.export import full_embedding
from training.model import sinusoids
from training.vocabulary import N_TIMESTAMPS, N_VOCAB


@torch.no_grad()
def test_the_compact_softmax_is_the_full_vocabularys_softmax():
    vocabulary = small_vocabulary()
    model = small_nano(vocabulary)
    hidden = torch.randn(5, SHAPE.n_text_state)
    compact = (hidden @ model.decoder.embedding().T + model.decoder.multiplicity).double().log_softmax(-1)
    full = (hidden @ full_embedding(model, vocabulary).T).double().log_softmax(-1)
    used = list(vocabulary.used_tokens)
    torch.testing.assert_close(compact[:, : vocabulary.n_used], full[:, used], atol=1e-5, rtol=0)  # logits are fp32
    torch.testing.assert_close(
        compact[:, vocabulary.n_used + 1 :], full[:, N_VOCAB - N_TIMESTAMPS :], atol=1e-5, rtol=0
    )
    unused = sorted(set(range(N_VOCAB - N_TIMESTAMPS)) - set(used))
    torch.testing.assert_close(compact[:, vocabulary.n_used], full[:, unused].logsumexp(-1), atol=1e-5, rtol=0)


@torch.no_grad()
def test_logits_are_those_of_the_judged_tokens():
    vocabulary = small_vocabulary()
    model = small_nano(vocabulary)
    mel, offsets = torch.randn(2, 80, 40), torch.tensor([0, 300])
    tokens = torch.randint(vocabulary.n_used, (2, 6))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    judged = torch.tensor([[0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1]], dtype=torch.bool)
    every = model(mel, offsets, tokens, everywhere).logits.unflatten(0, (2, 6))
    torch.testing.assert_close(model(mel, offsets, tokens, judged).logits, every[judged])


@torch.no_grad()
def test_no_token_sees_those_that_follow_it():
    vocabulary = small_vocabulary()
    model = small_nano(vocabulary)
    mel, offsets = torch.randn(1, 80, 40), torch.tensor([0])
    first = torch.tensor([[1, 2, 3, 4]])
    second = torch.tensor([[1, 2, 5, 6]])
    judged = torch.tensor([[True, True, False, False]])
    torch.testing.assert_close(
        model(mel, offsets, first, judged).logits, model(mel, offsets, second, judged).logits, atol=1e-6, rtol=0
    )


@torch.no_grad()
def test_attention_is_a_distribution_over_the_positions_for_every_head():
    vocabulary = small_vocabulary()
    model = small_nano(vocabulary)
    mel, offsets, tokens = torch.randn(2, 80, 40), torch.tensor([0, 7]), torch.randint(vocabulary.n_used, (2, 5))
    attention = model.cross_attention(mel, offsets, tokens)
    assert attention.shape == (SHAPE.n_text_layer, 2, SHAPE.n_text_head, 5, 20)
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))
    taught = model(mel, offsets, tokens, tokens >= 0).alignment
    torch.testing.assert_close(taught.exp(), attention[:, :, 0])


@torch.no_grad()
def test_a_window_knows_at_which_of_the_1500_positions_it_begins():
    model = small_nano(small_vocabulary())
    mel = torch.randn(1, 80, 40)
    first, same, later = (model.encoder(mel, torch.tensor([offset])) for offset in (0, 0, 700))
    assert torch.equal(first, same)
    assert (first - later).abs().max() > 0.1


def test_positions_are_whispers():
    import whisper.model

    ours, theirs = sinusoids(1500, 64), whisper.model.sinusoids(1500, 64)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)  # angles up to 1500 in fp32


def test_what_is_exported_keeps_openais_names():
    names = set(small_nano(small_vocabulary()).state_dict())
    assert {"encoder.blocks.0.attn.query.weight", "decoder.blocks.1.cross_attn.key.weight", "decoder.ln.bias"} <= names
    assert "decoder.blocks.1.cross_attn.key.bias" not in names
