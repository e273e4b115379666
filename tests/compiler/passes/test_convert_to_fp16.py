"""Graphs compute in float16, with float32 where it is asked for."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.checkpoint import Checkpoint, load_checkpoint
from stagewhisper.compiler.contract import contract_of
from stagewhisper.compiler.export import export_decoder, export_encoder
from stagewhisper.compiler.graph_tools import MICROSOFT, nodes_of
from stagewhisper.compiler.inferred_shapes import infer_shapes
from stagewhisper.compiler.passes.convert_to_fp16 import convert_to_fp16
from stagewhisper.compiler.passes.quantize_dynamic import quantize_dynamic
from stagewhisper.compiler.verify import verify
from tests.checkpoints import save_openai
from tests.compiler.foreign_graphs import DIMS, EXPORTS, foreign_graph, op_counts, run
from tests.compiler.graphs import SmallGraph

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16

NEAR = 5e-3
"""Of the largest output: float16 keeps three digits, and these graphs add up some dozens of such numbers."""


def relative_difference(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> float:
    assert list(expected) == list(found)
    return max(
        float(np.abs(found[name].astype(np.float32) - array).max() / max(1, np.abs(array).max()))
        for name, array in expected.items()
    )


@pytest.mark.parametrize("keep_io", [True, False], ids=["float32 outside", "float16 outside"])
@pytest.mark.parametrize("name", [name for name in EXPORTS if "dynamo" not in name])
def test_foreign_graphs_compute_nearly_the_same(name: str, keep_io: bool) -> None:
    export = foreign_graph(name)
    model, inputs = export.model(), export.inputs(n_seq=2)
    expected = run(model, inputs)
    assert convert_to_fp16(model.graph, keep_io=keep_io) > 50
    verify(model)
    assert convert_to_fp16(model.graph, keep_io=keep_io) == 0
    found = run(model, contract_of(convert_to_fp16).adapt_inputs(inputs, model.graph))
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32 if keep_io else np.float16)}
    assert 0 < relative_difference(expected, found) < NEAR


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(save_openai(tmp_path_factory.mktemp("fp16") / "random.pt", DIMS))


def test_weights_take_half_the_bytes_and_are_converted_only_when_saved(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ir.save(export_encoder(checkpoint), tmp_path / "single.onnx", external_data="single.weights")
    model = export_encoder(checkpoint)
    read: list[int] = []
    weight = Checkpoint.weight

    def noted(self: Checkpoint, name: str) -> np.ndarray:
        read.append(weight(self, name).size)
        return weight(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "weight", noted)
        convert_to_fp16(model.graph)
    assert max(read, default=0) < 1024  # the inference of shapes looks at vectors
    ir.save(model, tmp_path / "half.onnx", external_data="half.weights")
    single, half = ((tmp_path / f"{name}.weights").stat().st_size for name in ("single", "half"))
    assert 0.49 < half / single < 0.55
    assert not [value.name for value in model.graph.initializers.values() if value.dtype == FLOAT]


@pytest.mark.parametrize("keep_io", [True, False])
def test_inputs_and_outputs_keep_their_names(checkpoint: Checkpoint, keep_io: bool) -> None:
    model = export_decoder(checkpoint)
    names = [[value.name for value in values] for values in (model.graph.inputs, model.graph.outputs)]
    convert_to_fp16(model.graph, keep_io=keep_io)
    verify(model)
    assert names == [[value.name for value in values] for values in (model.graph.inputs, model.graph.outputs)]
    floats = {value.dtype for value in (*model.graph.inputs, *model.graph.outputs)} - {ir.DataType.INT64}
    assert floats == {FLOAT if keep_io else HALF}


def test_sensitive_operators_stay_in_float32(checkpoint: Checkpoint) -> None:
    model = export_encoder(checkpoint)
    convert_to_fp16(model.graph, sensitive=("Softmax", "LayerNormalization"))
    shapes = infer_shapes(model.graph)
    sensitive = list(nodes_of(model.graph, "Softmax", "LayerNormalization"))
    assert sensitive
    assert {shapes.dtype(value) for node in sensitive for value in (*node.inputs, *node.outputs)} == {FLOAT}
    assert {shapes.dtype(node.outputs[0]) for node in nodes_of(model.graph, "MatMul", "Gelu", "Add")} == {HALF}


def test_numbers_beyond_the_range_become_its_largest() -> None:
    graph = SmallGraph({"x": (FLOAT, ["n", 4])})
    mask = np.asarray([-3.4e38, 0, 1e5, -np.inf], np.float32)
    model = graph.model(y=graph.op("Add", graph.inputs["x"], graph.constant("mask", mask)))
    model.graph.outputs[0].shape = ir.Shape(["n", 4])
    assert convert_to_fp16(model.graph) == 1
    found = run(model, {"x": np.zeros((1, 4), np.float32)})["y"]
    np.testing.assert_array_equal(found, [[-65504, 0, 65504, -np.inf]])


def test_dynamic_quantisation_stays_in_float32(checkpoint: Checkpoint) -> None:
    model = export_encoder(checkpoint)
    inputs = {"mel": np.random.default_rng(0).standard_normal((1, 80, 80)).astype(np.float32)}
    quantize_dynamic(model.graph)
    expected = run(model, inputs)
    assert convert_to_fp16(model.graph) > 0
    verify(model)
    assert convert_to_fp16(model.graph) == 0
    assert list(nodes_of(model.graph, "DynamicQuantizeMatMul", domain=MICROSOFT))
    # A rounded activation may fall on the other side of a quantisation step, of which there are 255.
    assert relative_difference(expected, run(model, inputs)) < 0.05


def test_one_value_that_several_read_is_cast_once() -> None:
    graph = SmallGraph({"x": (FLOAT, ["n", 4])})
    x = graph.inputs["x"]
    model = graph.model(y=graph.op("Mul", graph.op("Add", x, x), graph.op("Relu", x)))
    model.graph.outputs[0].shape = ir.Shape(["n", 4])
    assert convert_to_fp16(model.graph) == 3
    assert op_counts(model.graph) == {"Cast": 2, "Add": 1, "Relu": 1, "Mul": 1}


def test_whole_numbers_stay_whole() -> None:
    graph = SmallGraph({"i": (ir.DataType.INT64, ["n"])})
    model = graph.model(y=graph.op("Add", graph.inputs["i"], graph.inputs["i"]))
    model.graph.outputs[0].type, model.graph.outputs[0].shape = ir.TensorType(ir.DataType.INT64), ir.Shape(["n"])
    assert convert_to_fp16(model.graph) == 0


def test_graphs_with_branches_are_left_alone() -> None:
    def branch(name: str, op_type: str, x: ir.Value) -> ir.Graph:
        node = ir.node(op_type, [x])
        node.outputs[0].name, node.outputs[0].type = f"{name}_y", ir.TensorType(FLOAT)
        return ir.Graph([], node.outputs, nodes=[node], name=name)

    graph = SmallGraph({"x": (FLOAT, ["n"]), "c": (ir.DataType.BOOL, [])})
    x = graph.inputs["x"]
    branches = {"then_branch": branch("then", "Relu", x), "else_branch": branch("else", "Abs", x)}
    model = graph.model(y=graph.op("If", graph.inputs["c"], **branches))  # type: ignore[arg-type]
    assert convert_to_fp16(model.graph) == 0
