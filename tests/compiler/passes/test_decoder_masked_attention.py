"""In a step graph attention becomes DecoderMaskedMultiHeadAttention; elsewhere it may not."""

from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.export import export_decoder
from stagewhisper.compiler.graph_tools import new_op, nodes_of, remove_unused, replace_value
from stagewhisper.compiler.passes.decoder_masked_attention import decoder_masked_attention
from stagewhisper.compiler.passes.make_kv_cache_static import make_kv_cache_static
from stagewhisper.compiler.verify import verify
from tests.checkpoints import random_dims, save_openai
from tests.compiler.attention_graphs import Attention, cross_kv, forced_logits
from tests.compiler.foreign_graphs import op_counts
from tests.logits import CLOSE, random_tokens

DMMHA = "com.microsoft::DecoderMaskedMultiHeadAttention"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=300, n_text_ctx=32)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("dmmha") / "random.pt", dims, seed=7))


def step_graph(checkpoint: Checkpoint, *, static: bool = True) -> ir.Model:
    """The decoder for one token at a time."""
    model = export_decoder(checkpoint)
    model.graph.inputs[0].shape = ir.Shape(["n_seq", 1])
    if static:
        assert make_kv_cache_static(model.graph) > 0
    return model


@pytest.mark.parametrize(("n_audio", "n_group"), [(1, 1), (1, 5), (2, 2)])
def test_self_attention_of_a_step_graph_becomes_one_operator(
    checkpoint: Checkpoint, tmp_path: Path, n_audio: int, n_group: int
) -> None:
    n_seq, calls = n_audio * n_group, (1,) * 14
    cross, tokens = cross_kv(checkpoint, tmp_path, n_audio=n_audio), random_tokens(checkpoint.dims, n_seq, len(calls))
    model = step_graph(checkpoint)
    assert decoder_masked_attention(model.graph) == checkpoint.dims.n_text_layer
    assert decoder_masked_attention(model.graph) == 0
    verify(model)
    ops = op_counts(model.graph)
    assert ops[DMMHA] == ops["Softmax"] == checkpoint.dims.n_text_layer, "cross-attention's keys are laid out otherwise"
    assert "ScatterND" not in ops
    run = partial(forced_logits, cross=cross, tokens=tokens, calls=calls, reorder={4: list(range(n_seq))[::-1]})
    expected = run(export_decoder(checkpoint), folder=tmp_path / "before")
    np.testing.assert_allclose(run(model, folder=tmp_path / "after"), expected, atol=CLOSE)


def test_cross_attention_becomes_one_operator_where_keys_lie_as_it_wants_them(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    model = step_graph(checkpoint)
    cross, calls = cross_kv(checkpoint, tmp_path, n_audio=3), (1,) * 10
    tokens = random_tokens(checkpoint.dims, 3, len(calls))
    expected = forced_logits(model, cross, tokens, tmp_path / "before", calls=calls)
    for value in model.graph.inputs:
        if str(value.name).startswith("cross_k"):
            take_keys_in_rows(model.graph, value)
            cross[str(value.name)] = np.ascontiguousarray(cross[str(value.name)].swapaxes(2, 3))
    assert decoder_masked_attention(model.graph, cross_attention=False) == checkpoint.dims.n_text_layer
    assert decoder_masked_attention(model.graph) == checkpoint.dims.n_text_layer
    assert "Softmax" not in op_counts(model.graph)
    found = forced_logits(model, cross, tokens, tmp_path / "after", calls=calls)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


def take_keys_in_rows(graph: ir.Graph, cross_k: ir.Value) -> None:
    """Make the input [n_audio, n_head, n_audio_ctx, head_dim], one sequence a window, and turn it in the graph."""
    assert cross_k.shape is not None
    n_audio, n_head, head_dim, n_audio_ctx = cross_k.shape
    cross_k.shape = ir.Shape(["n_seq", n_head, n_audio_ctx, head_dim])
    del n_audio
    for kind in "kv":
        value = next(v for v in graph.inputs if v.name == str(cross_k.name).replace("_k_", f"_{kind}_"))
        value.shape = ir.Shape(["n_seq", *list(value.shape or [])[1:]])
        reshape = next(
            node
            for node in nodes_of(graph, "Reshape")
            if (expand := node.inputs[0].producer()) is not None  # type: ignore[union-attr]
            and expand.op_type == "Expand"
            and expand.inputs[0].producer().inputs[0] is value  # type: ignore[union-attr]
        )
        given = new_op(graph, reshape, "Transpose", value, perm=[0, 1, 3, 2]) if kind == "k" else value
        replace_value(graph, reshape.outputs[0], given)
        remove_unused(graph, reshape)


def test_it_declines_a_graph_that_takes_any_number_of_tokens(checkpoint: Checkpoint) -> None:
    model = export_decoder(checkpoint)
    make_kv_cache_static(model.graph)
    before = op_counts(model.graph)
    assert decoder_masked_attention(model.graph) == 0
    assert op_counts(model.graph) == before


def test_it_declines_a_growing_cache_which_the_kernel_refuses(checkpoint: Checkpoint) -> None:
    assert decoder_masked_attention(step_graph(checkpoint, static=False).graph) == 0


@pytest.mark.parametrize("form", [Attention(n_new=1, mask="none"), Attention(cached=False, n_new=1, float16=True)])
def test_it_declines_growing_and_float16_forms(form: Attention) -> None:
    assert decoder_masked_attention(form.model().graph) == 0
