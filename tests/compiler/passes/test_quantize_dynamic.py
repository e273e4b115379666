"""Dynamic int8: products are replaced, the rest is not, and the numbers stay close."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.passes.quantize_dynamic import quantize_dynamic
from tests.compiler import foreign_graphs
from tests.compiler.foreign_graphs import op_counts
from tests.compiler.graphs import SmallGraph, relative_error, run
from tests.compiler.passes.quantized import TOKENS, n_bytes, same_words, sample_tokens, tied_model

PRODUCT = "com.microsoft::DynamicQuantizeMatMul"


def test_products_become_int8_and_biases_go_into_them() -> None:
    model = tied_model()
    assert quantize_dynamic(model.graph) == 3
    counts = op_counts(model.graph)
    assert counts[PRODUCT] == 3
    assert "MatMul" not in counts
    assert "Add" not in counts
    assert model.graph.opset_imports["com.microsoft"] == 1


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("share_embedding", [True, False])
def test_the_numbers_stay_close(per_channel: bool, share_embedding: bool) -> None:
    model = tied_model()
    before = run(model, {"tokens": TOKENS})
    quantize_dynamic(model.graph, per_channel=per_channel, share_embedding=share_embedding)
    after = run(model, {"tokens": TOKENS})
    # three products, each with weights and activations rounded to about a 250th of their largest numbers
    assert relative_error(after["y"], before["y"]) < 0.03
    assert relative_error(after["x"], before["x"]) < (0.015 if share_embedding else 1e-7)


def test_one_bit_less_doubles_the_error_of_weights() -> None:
    steps = []
    for reduce_range in (False, True):
        model = tied_model()
        quantize_dynamic(model.graph, reduce_range=reduce_range)
        stored = model.graph.initializers["embedding.int8"].const_value
        assert stored is not None
        steps.append(np.abs(stored.numpy()).max())
    assert steps == [127, 63]


def test_the_embedding_is_stored_once_and_in_int8() -> None:
    model = tied_model()
    floats = n_bytes(model)
    quantize_dynamic(model.graph)
    assert n_bytes(model) < 0.3 * floats
    assert "embedding" not in model.graph.initializers
    apart = tied_model()
    quantize_dynamic(apart.graph, share_embedding=False)
    assert "embedding" in apart.graph.initializers


def test_what_is_kept_back_stays_as_it_is() -> None:
    model = tied_model()
    assert quantize_dynamic(model.graph, keep=["vocabulary", "mlp.0.*"]) == 1
    assert op_counts(model.graph)["MatMul"] == 2
    assert quantize_dynamic(model.graph, only=["vocabulary"]) == 1
    assert quantize_dynamic(model.graph, only=["nothing.is.called.so"]) == 0


def test_it_declines_weights_that_are_not_constant() -> None:
    shapes = {"x": (ir.DataType.FLOAT, ["n", 8]), "w": (ir.DataType.FLOAT, [8, 8])}
    build = SmallGraph(shapes)  # type: ignore[arg-type]
    model = build.model(y=build.op("MatMul", build.inputs["x"], build.inputs["w"]))
    assert quantize_dynamic(model.graph) == 0
    assert op_counts(model.graph) == {"MatMul": 1}


def test_a_second_run_changes_nothing() -> None:
    model = tied_model()
    quantize_dynamic(model.graph)
    before = op_counts(model.graph)
    assert quantize_dynamic(model.graph) == 0
    assert op_counts(model.graph) == before


def test_weights_are_read_only_when_they_are_saved() -> None:
    model = tied_model()
    embedding = model.graph.initializers["embedding"]

    def read() -> ir.TensorProtocol:
        raise AssertionError("read too early")

    embedding.const_value = ir.LazyTensor(read, ir.DataType.FLOAT, ir.Shape([1100, 64]), name="embedding")
    assert quantize_dynamic(model.graph) == 3


@pytest.mark.parametrize("name", ["openai-dynamo/decoder", "transformers-torchscript/encoder"])
def test_foreign_graphs_are_quantised(name: str) -> None:
    foreign = foreign_graphs.foreign_graph(name)
    model, inputs = foreign.model(), foreign.inputs(n_new=3)
    before = foreign_graphs.run(model, inputs)
    dims = foreign.dims
    n_products = 10 * dims.n_text_layer + 1 if name.endswith("decoder") else 6 * dims.n_audio_layer
    assert quantize_dynamic(model.graph) == n_products
    after = run(model, inputs)
    for output, array in before.items():
        # a narrow model of random weights: errors of 1 % a product add up over some twenty of them
        assert relative_error(after[output], array) < 0.1


def test_nano_hears_the_same_words(tmp_path: Path) -> None:
    expected, _ = sample_tokens(tmp_path / "fp32")
    found, counts = sample_tokens(tmp_path / "int8", quantize_dynamic)
    assert same_words(found, expected)
    assert len(expected) > 3
    assert counts[0] == 6 * 4 + 2 * 2 + 8 * 2 + 1  # encoder blocks, cross-attention's k and v, decoder blocks, head
