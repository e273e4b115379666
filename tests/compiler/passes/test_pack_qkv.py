"""Three products of one input become one, before and after the attention is fused, and the numbers stay."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import nodes_of, tensor_of
from stagewhisper.compiler.passes.fuse_attention import fuse_attention
from stagewhisper.compiler.passes.group_query_attention import group_query_attention
from stagewhisper.compiler.passes.make_kv_cache_static import make_kv_cache_static
from stagewhisper.compiler.passes.pack_qkv import pack_qkv
from stagewhisper.compiler.verify import verify
from tests.checkpoints import random_dims, save_openai
from tests.compiler.attention_graphs import cross_kv, forced_logits
from tests.compiler.foreign_graphs import FORMS, foreign_graph, op_counts
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import rewritten
from tests.logits import CLOSE, random_mel, random_tokens


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=300, n_text_ctx=64)
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("pack") / "random.pt", dims, seed=8))


@pytest.mark.parametrize("fused", [False, True])
def test_the_encoders_queries_keys_and_values_come_from_one_product(checkpoint: Checkpoint, fused: bool) -> None:
    def build() -> ir.Model:
        model = export_encoder(checkpoint)
        assert not fused or fuse_attention(model.graph) == checkpoint.dims.n_audio_layer
        return model

    n_products = op_counts(build().graph)["MatMul"]
    count, ops = rewritten(pack_qkv, build, {"mel": random_mel(checkpoint.dims, 2)}, close=CLOSE)
    assert count == ops["Split"] == checkpoint.dims.n_audio_layer
    assert ops["MatMul"] == n_products - 2 * count


def test_the_keys_bias_is_zero_and_no_weight_is_read_before_it_is_saved(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    weight = Checkpoint.weight

    def counted(self: Checkpoint, name: str) -> np.ndarray:
        read.append(name)
        return weight(self, name)

    monkeypatch.setattr(Checkpoint, "weight", counted)
    graph = export_encoder(checkpoint).graph
    pack_qkv(graph)
    assert not [name for name in read if name.endswith(".weight")]
    add = next(nodes_of(graph, "Split")).inputs[0].producer()  # type: ignore[union-attr]
    assert add is not None
    bias, product = tensor_of(add.inputs[1]), add.inputs[0].producer()  # type: ignore[union-attr]
    assert bias is not None
    assert product is not None
    name = "encoder.blocks.0.attn"
    expected = [weight(checkpoint, f"{name}.query.bias"), np.zeros(32), weight(checkpoint, f"{name}.value.bias")]
    np.testing.assert_array_equal(bias.numpy(), np.concatenate(expected))
    packed = tensor_of(product.inputs[1])
    assert packed is not None
    weights = [weight(checkpoint, f"{name}.{part}.weight").T for part in ("query", "key", "value")]
    np.testing.assert_array_equal(packed.numpy(), np.concatenate(weights, axis=1))


@pytest.mark.parametrize("static", [False, True])
def test_group_query_attention_takes_the_product_as_it_is(checkpoint: Checkpoint, tmp_path: Path, static: bool) -> None:
    model, n_layer = export_decoder(checkpoint), checkpoint.dims.n_text_layer
    if static:
        make_kv_cache_static(model.graph)
    group_query_attention(model.graph)
    assert pack_qkv(model.graph) == n_layer
    assert pack_qkv(model.graph) == 0
    verify(model)
    assert "Split" not in op_counts(model.graph)
    nodes = list(nodes_of(model.graph, "GroupQueryAttention", domain="com.microsoft"))
    assert len(nodes) == n_layer
    assert all(node.inputs[1] is None and node.inputs[2] is None for node in nodes)
    cross, calls = cross_kv(checkpoint, tmp_path, n_audio=1), (4, *[1] * 10)
    tokens = random_tokens(checkpoint.dims, 3, sum(calls))
    found = forced_logits(model, cross, tokens, tmp_path / "after", calls=calls)
    expected = forced_logits(export_decoder(checkpoint), cross, tokens, tmp_path / "before", calls=calls)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_it_fires_on_foreign_exports(form: str) -> None:
    foreign = foreign_graph(f"{form}/encoder")
    count, ops = rewritten(pack_qkv, foreign.model, foreign.inputs(), close=CLOSE)
    assert count == ops["Split"] == foreign.dims.n_audio_layer
    foreign = foreign_graph(f"{form}/decoder")
    count, ops = rewritten(pack_qkv, foreign.model, foreign.inputs(n_new=3), close=CLOSE)
    assert count == foreign.dims.n_text_layer, "self-attention's; cross-attention has two inputs"


def small(*, inputs: str = "xxx", scalar: bool = False, matrix: bool = True, asked: bool = False) -> ir.Model:
    """q, k and v as products of the named inputs, given to MultiHeadAttention."""
    rows: list[int | str] = ["n", 5, 8]
    taken = {"x": (ir.DataType.FLOAT, rows), "z": (ir.DataType.FLOAT, rows)}
    graph = SmallGraph(taken if matrix else taken | {"w": (ir.DataType.FLOAT, [8, 8])})
    generator, values = np.random.default_rng(0), []
    for part, name in zip("qkv", inputs, strict=True):
        weight = graph.constant(f"w{part}", generator.standard_normal((8, 8)).astype(np.float32))
        product = graph.op("MatMul", graph.inputs[name], weight if matrix else graph.inputs["w"])
        if scalar:
            product = graph.op("Add", product, graph.constant(f"b{part}", np.asarray(0.5, np.float32)))
        values.append(product)
    y = graph.op("MultiHeadAttention", *values, domain="com.microsoft", num_heads=2)
    return graph.model(y=y, **({"q": values[0]} if asked else {}))


Build = Callable[[], ir.Model]


@pytest.mark.parametrize(
    "build",
    [
        partial(small, inputs="xxz"),
        partial(small, scalar=True),
        partial(small, matrix=False),
        partial(small, asked=True),
    ],
)
def test_it_declines_two_inputs_biases_of_one_number_weights_from_outside_and_asked_products(build: Build) -> None:
    assert pack_qkv(small().graph) == 1
    model = build()
    before = op_counts(model.graph)
    assert pack_qkv(model.graph) == 0
    assert op_counts(model.graph) == before
