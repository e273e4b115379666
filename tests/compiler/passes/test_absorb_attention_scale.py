"""Attention's scale goes into the weights of its queries, with the same numbers."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.export import export_decoder
from stagewhisper.compiler.graph_tools import attribute_of, nodes_of
from stagewhisper.compiler.passes.absorb_attention_scale import absorb_attention_scale
from stagewhisper.compiler.passes.broadcast_tile import broadcast_tile
from stagewhisper.compiler.passes.fuse_attention import fuse_attention
from stagewhisper.compiler.passes.fuse_cross_attention import fuse_cross_attention
from stagewhisper.compiler.passes.normalise_export import normalise_export
from stagewhisper.compiler.passes.quantize_dynamic import quantize_dynamic
from stagewhisper.hub.known import embedded_path
from tests.compiler.foreign_graphs import foreign_graph
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

N_HEAD, HEAD_DIM, N_KEYS = 2, 16, 5
N_STATE = N_HEAD * HEAD_DIM
EIGHTH = 0.125

random = np.random.default_rng(0)
INPUTS = {
    "x": random.standard_normal((1, 3, N_STATE)).astype(np.float32),
    "k": random.standard_normal((1, N_HEAD, N_KEYS, HEAD_DIM)).astype(np.float32),
    "v": random.standard_normal((1, N_HEAD, N_KEYS, HEAD_DIM)).astype(np.float32),
}
WEIGHT = random.standard_normal((N_STATE, N_STATE)).astype(np.float32)
BIAS = random.standard_normal(N_STATE).astype(np.float32)


def attention(
    *,
    scale: float | None = EIGHTH,
    bias: bool = True,
    reshaped: bool = False,
    own_bias: bool = False,
    seen: bool = False,
    shared_weight: bool = False,
) -> ir.Model:
    heads: list[int | str] = [1, N_HEAD, N_KEYS, HEAD_DIM]
    build = SmallGraph(
        {
            "x": (ir.DataType.FLOAT, ["n", 3, N_STATE]),
            "k": (ir.DataType.FLOAT, heads),
            "v": (ir.DataType.FLOAT, heads),
        }
    )
    weight = build.constant("weight", WEIGHT)
    x = build.inputs["x"]
    if shared_weight:
        x = build.op("MatMul", x, weight)
    q = build.op("MatMul", x, weight)
    if bias:
        q = build.op("Add", q, build.constant("bias", BIAS))
    rows = build.op("Reshape", q, build.constant("rows", np.array([1, -1, N_STATE]))) if reshaped else q
    operands = [rows, build.inputs["k"], build.inputs["v"]]
    if own_bias:
        operands.append(build.constant("own", np.tile(BIAS, 3)))
    attributes = {} if scale is None else {"scale": scale}
    y = build.op("MultiHeadAttention", *operands, domain="com.microsoft", num_heads=N_HEAD, **attributes)
    return build.model(y=y, q=q) if seen else build.model(y=y)


@pytest.mark.parametrize("reshaped", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_power_of_two_changes_no_bit(bias: bool, reshaped: bool) -> None:
    count, _ = rewritten(absorb_attention_scale, lambda: attention(bias=bias, reshaped=reshaped), INPUTS, close=1e-7)
    assert count == 1


@pytest.mark.parametrize("scale", [0.3, None])
def test_any_scale_is_taken_the_default_too(scale: float | None) -> None:
    count, _ = rewritten(absorb_attention_scale, lambda: attention(scale=scale), INPUTS, close=CLOSE)
    assert count == 1


def test_the_operator_is_left_without_a_scale() -> None:
    model = attention()
    absorb_attention_scale(model.graph)
    (node,) = nodes_of(model.graph, "MultiHeadAttention", domain="com.microsoft")
    assert attribute_of(node, "scale") == 1
    assert "weight" not in {value.name for other in model.graph for value in other.inputs if value is not None}


@pytest.mark.parametrize("reason", ["own_bias", "seen", "shared_weight"])
def test_it_declines_where_others_would_see_it(reason: str) -> None:
    assert absorb_attention_scale(attention(**{reason: True}).graph) == 0


def test_it_declines_queries_that_are_quantised() -> None:
    model = attention()
    assert quantize_dynamic(model.graph) == 1
    assert absorb_attention_scale(model.graph) == 0


def test_every_layer_of_a_decoder_is_found() -> None:
    checkpoint = load_checkpoint(embedded_path())
    model = export_decoder(checkpoint)
    broadcast_tile(model.graph)
    assert absorb_attention_scale(model.graph) == 0, "attention is not fused yet"
    fuse_cross_attention(model.graph)
    assert absorb_attention_scale(model.graph) == checkpoint.dims.n_text_layer
    assert absorb_attention_scale(model.graph) == 0


@pytest.mark.parametrize("name", ["openai-dynamo/decoder", "transformers-torchscript/decoder_with_past"])
def test_decoders_that_others_exported_are_found(name: str) -> None:
    export = foreign_graph(name)

    def build() -> ir.Model:
        model = export.model()
        normalise_export(model.graph)
        fuse_attention(model.graph, cross_attention=True)
        return model

    count, _ = rewritten(absorb_attention_scale, build, export.inputs(), close=CLOSE)
    assert count >= export.dims.n_text_layer
