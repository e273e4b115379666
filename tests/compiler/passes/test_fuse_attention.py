"""Attention becomes MultiHeadAttention in every export, and the numbers stay."""

from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.passes.fuse_attention import fuse_attention
from stagewhisper.compiler.passes.make_kv_cache_static import make_kv_cache_static
from stagewhisper.compiler.verify import verify
from tests.checkpoints import random_dims, save_openai
from tests.compiler.attention_graphs import Attention, cross_kv, forced_logits
from tests.compiler.foreign_graphs import FORMS, foreign_graph, op_counts
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import rewritten
from tests.logits import CLOSE, random_mel, random_tokens

MHA = "com.microsoft::MultiHeadAttention"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=300, n_audio_layer=3, n_text_ctx=64)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("mha") / "random.pt", dims, seed=6))


@pytest.mark.parametrize("n_audio", [1, 3])
def test_every_encoder_layer_becomes_one_operator(checkpoint: Checkpoint, n_audio: int) -> None:
    inputs = {"mel": random_mel(checkpoint.dims, n_audio)}
    count, ops = rewritten(fuse_attention, partial(export_encoder, checkpoint), inputs, close=CLOSE)
    assert count == ops[MHA] == checkpoint.dims.n_audio_layer
    assert "Softmax" not in ops
    assert ops["Transpose"] == 1 + 2 * checkpoint.dims.n_text_layer, "that of the convolutions and cross-attention's"


def test_the_plain_decoder_is_left_to_group_query_attention(checkpoint: Checkpoint) -> None:
    assert fuse_attention(export_decoder(checkpoint).graph) == 0


@pytest.mark.parametrize("static", [False, True])
def test_with_a_cache_several_sequences_may_get_several_tokens(
    checkpoint: Checkpoint, tmp_path: Path, static: bool
) -> None:
    cross, calls = cross_kv(checkpoint, tmp_path, n_audio=2), (5, 3, *[1] * 10, 4)
    tokens = random_tokens(checkpoint.dims, 6, sum(calls))
    model = export_decoder(checkpoint)
    if static:
        make_kv_cache_static(model.graph)
    assert fuse_attention(model.graph, cached=True) == checkpoint.dims.n_text_layer
    assert fuse_attention(model.graph, cached=True) == 0
    verify(model)
    assert not {"ScatterND", "Where"} & set(op_counts(model.graph)), (
        "caches are written by the operator, no mask is left"
    )
    reorder = {3: [0, 0, 1, 4, 3, 3]}
    found = forced_logits(model, cross, tokens, tmp_path / "after", calls=calls, reorder=reorder)
    plain = export_decoder(checkpoint)
    expected = forced_logits(plain, cross, tokens, tmp_path / "before", calls=calls, reorder=reorder)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_it_fires_on_foreign_exports_of_every_part(form: str) -> None:
    everything = partial(fuse_attention, cached=True, cross_attention=True)
    for part, n_attentions in (("encoder", 1), ("decoder", 2), ("decoder_with_past", 2)):
        foreign = foreign_graph(f"{form}/{part}")
        n_layer = foreign.dims.n_audio_layer if part == "encoder" else foreign.dims.n_text_layer
        one_token = form.startswith("openai") and part == "decoder_with_past"
        inputs = foreign.inputs(n_seq=3, n_new=1 if one_token else 4, n_past=6)
        count, ops = rewritten(everything, foreign.model, inputs, close=CLOSE)
        assert count == ops[MHA] == n_attentions * n_layer
        assert "Softmax" not in ops


def test_cross_attention_from_outside_is_fused_only_when_asked_for() -> None:
    foreign = foreign_graph("transformers-torchscript/decoder_with_past")
    graph = foreign.model().graph
    assert fuse_attention(graph) == 0
    assert fuse_attention(graph, cross_attention=True) == foreign.dims.n_text_layer
    assert op_counts(graph)["Softmax"] == foreign.dims.n_text_layer


@pytest.mark.parametrize(
    "form",
    [
        Attention(cached=False, mask="none"),
        Attention(cached=False, mask="none", scaled="queries and keys", flat_turn=True),
        Attention(cached=False, mask="none", scaled="scores", guarded=True),
        Attention(cached=False, mask="none", scaled="not"),
        Attention(cached=False, mask="causal", scaled="rows", head_dim=5),
        Attention(cached=False, mask="causal", n_new=1),
    ],
)
def test_it_understands_many_ways_to_write_attention(form: Attention) -> None:
    inputs = form.inputs(n_seq=2, n_new=1 if form.n_new == 1 else 6)
    count, ops = rewritten(fuse_attention, form.model, inputs, close=1e-5)
    assert (count, ops) == (1, {MHA: 1})


@pytest.mark.parametrize(
    "form",
    [
        Attention(cached=False, mask="window"),
        Attention(cached=False, mask="soft"),
        Attention(cached=False, mask="input"),
        Attention(cached=False, mask="none", weights_asked=True),
        Attention(cached=False, mask="none", cut_wrongly=True),
        Attention(cached=False, mask="none", float16=True),
        Attention(cached=True, mask="none"),
    ],
)
def test_it_declines_masks_that_hide_something_else_weights_that_are_asked_for_and_float16(form: Attention) -> None:
    model = form.model()
    before = op_counts(model.graph)
    assert fuse_attention(model.graph, cached=True, cross_attention=True) == 0
    assert op_counts(model.graph) == before


@pytest.mark.parametrize("beams", [1, 2])
def test_queries_that_were_regrouped_are_not_taken_for_rows(beams: int) -> None:
    """[n_seq, n_new, n_state] ─► [n_seq / 2, 2 n_new, ..], as beams are folded, is not [n_seq, n_new, ..] any more."""
    rows: list[int | str] = ["n_seq", 4, 16]
    graph = SmallGraph(dict.fromkeys(("q", "k", "v"), (ir.DataType.FLOAT, rows)))
    op, number = graph.op, graph.constant

    def heads(name: str) -> ir.Value:
        shape = number(f"{name}_heads", np.array([-1, 4 * beams, 2, 8]))
        return op("Transpose", op("Reshape", graph.inputs[name], shape), perm=[0, 2, 1, 3])

    q, k, v = (heads(name) for name in ("q", "k", "v"))
    weights = op("Softmax", op("MatMul", q, op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    merged = op("Transpose", op("MatMul", weights, v), perm=[0, 2, 1, 3])
    model = graph.model(y=op("Reshape", merged, number("merged", np.array([-1, 4 * beams, 16]))))
    assert fuse_attention(model.graph) == (1 if beams == 1 else 0)
