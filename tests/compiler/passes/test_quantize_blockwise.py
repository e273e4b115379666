"""Blocks of 8 and 4 bits: products are replaced, the embedding is shared, and the numbers stay close."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.pass_manager import PassStep, check_step
from stagewhisper.compiler.passes.quantize_blockwise import quantize_blockwise
from stagewhisper.errors import OptionError
from tests.compiler import foreign_graphs
from tests.compiler.foreign_graphs import op_counts
from tests.compiler.graphs import SmallGraph, relative_error, run
from tests.compiler.passes.quantized import TOKENS, n_bytes, same_words, sample_tokens, tied_model

PRODUCT, GATHER = "com.microsoft::MatMulNBits", "com.microsoft::GatherBlockQuantized"


def test_products_are_replaced_and_biases_go_into_them() -> None:
    model = tied_model()
    assert quantize_blockwise(model.graph, block_size=32) == 3
    counts = op_counts(model.graph)
    assert counts == {GATHER: 1, PRODUCT: 3, "Gelu": 2, "Reshape": 1}


# Rounding leaves about 0.09 (4 bits) or 0.006 (8 bits) of normal weights' size; three products follow each other.
@pytest.mark.parametrize(("bits", "bound"), [(8, 0.03), (4, 0.25)])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("share_embedding", [True, False])
def test_the_numbers_stay_close(bits: int, bound: float, symmetric: bool, share_embedding: bool) -> None:
    model = tied_model()
    before = run(model, {"tokens": TOKENS})
    quantize_blockwise(model.graph, bits=bits, block_size=32, symmetric=symmetric, share_embedding=share_embedding)
    after = run(model, {"tokens": TOKENS})
    assert relative_error(after["y"], before["y"]) < bound
    assert relative_error(after["x"], before["x"]) < (bound / 2 if share_embedding else 1e-7)


@pytest.mark.parametrize(("bits", "share"), [(8, 0.29), (4, 0.17)])
def test_the_embedding_is_stored_once_and_small(bits: int, share: float) -> None:
    model = tied_model()
    floats = n_bytes(model)
    quantize_blockwise(model.graph, bits=bits, block_size=32)
    assert n_bytes(model) < share * floats
    assert "embedding" not in model.graph.initializers


def test_tokens_are_read_in_float32_where_rows_are_not_whole_blocks() -> None:
    model = tied_model()
    before = run(model, {"tokens": TOKENS})
    assert quantize_blockwise(model.graph, block_size=128) == 3
    assert op_counts(model.graph)["Gather"] == 1
    after = run(model, {"tokens": TOKENS})
    np.testing.assert_array_equal(after["x"], before["x"])
    assert relative_error(after["y"], before["y"]) < 0.03


def test_sequences_of_a_batch_do_not_influence_each_other() -> None:
    model = tied_model()
    quantize_blockwise(model.graph, block_size=32)
    together = run(model, {"tokens": TOKENS})["y"]
    for row, tokens in zip(together, TOKENS, strict=True):
        np.testing.assert_allclose(
            run(model, {"tokens": tokens[None]})["y"][0], row, atol=1e-4
        )  # sums in another order


def test_what_is_kept_back_stays_as_it_is() -> None:
    model = tied_model()
    assert quantize_blockwise(model.graph, keep=["mlp.*"], bits=4, block_size=32) == 1
    assert quantize_blockwise(model.graph, only=["mlp.*"], bits=8, block_size=32) == 2
    bits = [node.attributes["bits"].as_int() for node in model.graph if node.op_type == "MatMulNBits"]
    assert bits == [8, 8, 4]


def test_it_declines_weights_that_are_not_constant() -> None:
    shapes = {"x": (ir.DataType.FLOAT, ["n", 8]), "w": (ir.DataType.FLOAT, [8, 8])}
    build = SmallGraph(shapes)  # type: ignore[arg-type]
    model = build.model(y=build.op("MatMul", build.inputs["x"], build.inputs["w"]))
    assert quantize_blockwise(model.graph) == 0
    assert op_counts(model.graph) == {"MatMul": 1}


def test_a_second_run_changes_nothing() -> None:
    model = tied_model()
    quantize_blockwise(model.graph, block_size=32)
    before = op_counts(model.graph)
    assert quantize_blockwise(model.graph, block_size=32) == 0
    assert op_counts(model.graph) == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bits": 3}, "bits is 3; expected one of 4, 8"),
        ({"block_size": 48}, "block_size is 48; expected one of 16, 32, 64, 128, 256"),
        ({"accuracy_level": 1}, "accuracy_level is 1; expected one of 0, 4"),
    ],
)
def test_a_form_without_a_kernel_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(OptionError, match=rf"^The pass 'quantize_blockwise': {message}\.$"):
        check_step(PassStep("quantize_blockwise", wrong))


@pytest.mark.parametrize("name", ["openai-torchscript/decoder", "transformers-dynamo/encoder"])
def test_foreign_graphs_are_quantised(name: str) -> None:
    foreign = foreign_graphs.foreign_graph(name)
    model, inputs = foreign.model(), foreign.inputs(n_new=3)
    before = foreign_graphs.run(model, inputs)
    dims = foreign.dims
    n_products = 10 * dims.n_text_layer + 1 if name.endswith("decoder") else 6 * dims.n_audio_layer
    assert quantize_blockwise(model.graph, block_size=32) == n_products
    after = run(model, inputs)
    for output, array in before.items():
        assert relative_error(after[output], array) < 0.1  # random weights, some twenty products in a row


def test_nano_hears_the_same_words_in_8_bits(tmp_path: Path) -> None:
    expected, _ = sample_tokens(tmp_path / "fp32")
    found, counts = sample_tokens(tmp_path / "int8", quantize_blockwise)
    assert same_words(found, expected)
    assert len(expected) > 3
    assert counts[0] == 6 * 4 + 2 * 2 + 8 * 2 + 1  # encoder blocks, cross-attention's k and v, decoder blocks, head
