"""Shapes are told without being written down, also past operators that ONNX does not know."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.compiler.export import export_decoder
from stagewhisper.compiler.inferred_shapes import infer_shapes
from tests.checkpoints import random_dims, save_openai
from tests.compiler.graphs import SmallGraph

FLOAT = ir.DataType.FLOAT


def test_every_value_of_our_decoder_has_a_shape_and_a_type_and_the_graph_stays_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    dims = random_dims(n_audio_ctx=40, n_audio_state=32, n_text_state=32, n_vocab=300)
    graph = export_decoder(load_checkpoint(save_openai(tmp_path_factory.mktemp("shapes") / "a.pt", dims))).graph
    noted = [(output.name, output.shape, output.type) for node in graph for output in node.outputs]
    shapes = infer_shapes(graph)
    assert [(output.name, output.shape, output.type) for node in graph for output in node.outputs] == noted
    assert all(shapes.rank(output) is not None and shapes.dtype(output) for node in graph for output in node.outputs)
    keys = next(node.outputs[0] for node in graph if node.op_type == "Concat" and shapes.rank(node.outputs[0]) == 4)
    assert [shapes.length(keys, axis) for axis in range(-4, 4)] == [None, 2, None, 16] * 2
    assert shapes.length(keys, 4) is None


def test_an_out_of_date_note_in_the_graph_is_not_believed() -> None:
    build = SmallGraph({"x": (FLOAT, ["n", 3])})
    between = build.op("Transpose", build.inputs["x"], perm=[1, 0])
    between.shape = ir.Shape([7, 7])
    shapes = infer_shapes(build.model(y=build.op("Neg", between)).graph)
    assert shapes.dims(between) == (3, "n")


@pytest.mark.parametrize(
    ("op_type", "attributes", "last"),
    [
        ("FastGelu", {}, 8),
        ("MatMulNBits", {"K": 8, "N": 5, "bits": 4, "block_size": 16}, 5),
        ("DynamicQuantizeMatMul", {}, 6),
    ],
)
def test_operators_of_onnx_runtime_do_not_end_the_knowledge(
    op_type: str, attributes: dict[str, int], last: int
) -> None:
    build = SmallGraph({"x": (FLOAT, ["n", 2, 8])})
    weight = build.constant("weight", np.zeros((8, 6), np.int8))
    inner = build.op(op_type, build.inputs["x"], weight, domain="com.microsoft", **attributes)
    result = build.op("Transpose", inner, perm=[0, 2, 1])
    graph = build.model(y=result).graph
    shapes = infer_shapes(graph)
    assert shapes.dims(result) == ("n", last, 2)
    assert shapes.dims(inner) == ("n", 2, last)
    assert shapes.dtype(inner) == FLOAT


def test_an_operator_that_nobody_knows_ends_it() -> None:
    build = SmallGraph({"x": (FLOAT, ["n", 2])})
    inner = build.op("Secret", build.inputs["x"], domain="com.example")
    shapes = infer_shapes(build.model(y=build.op("Neg", inner)).graph)
    assert shapes.dims(inner) is None
    assert shapes.dtype(inner) is None
    assert shapes.dims(None) is None
