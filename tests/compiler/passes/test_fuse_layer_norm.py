"""Written-out layer norms become one operator each."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.opset import opset_of
from stagewhisper.compiler.passes.fuse_layer_norm import fuse_layer_norm
from tests.compiler.foreign_graphs import foreign_graph
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

X = {"x": np.random.default_rng(0).standard_normal((2, 3, 6)).astype(np.float32)}
OLD = 16
"""Has neither the operator nor the axes of ReduceMean as an input."""


def written_out(
    *, axes: tuple[int, ...] = (-1,), power: float = 2, as_product: bool = False, seen: bool = False
) -> ir.Model:
    graph = SmallGraph({"x": (ir.DataType.FLOAT, ["n", "t", 6])})
    x = graph.inputs["x"]
    centred = graph.op("Sub", x, graph.op("ReduceMean", x, axes=list(axes)))
    exponent = graph.constant("power", np.asarray(power, np.float32))
    square = graph.op("Mul", centred, centred) if as_product else graph.op("Pow", centred, exponent)
    variance = graph.op("ReduceMean", square, axes=list(axes))
    deviation = graph.op("Sqrt", graph.op("Add", variance, graph.constant("epsilon", np.asarray(1e-5, np.float32))))
    divided = graph.op("Div", centred, deviation)
    scaled = graph.op("Mul", divided, graph.constant("weight", np.linspace(0.5, 2, 6, dtype=np.float32)))
    y = graph.op("Add", scaled, graph.constant("bias", np.arange(6, dtype=np.float32)))
    model = graph.model(y=y, scaled=scaled) if seen else graph.model(y=y)
    model.graph.opset_imports[""] = OLD
    return model


@pytest.mark.parametrize("as_product", [False, True], ids=["Pow", "Mul"])
def test_it_becomes_one_operator(as_product: bool) -> None:
    found = rewritten(fuse_layer_norm, lambda: written_out(as_product=as_product), X, close=CLOSE)
    assert found == (1, {"LayerNormalization": 1})


@pytest.mark.parametrize(
    ("name", "n_norms"),
    [("openai-torchscript/encoder", 5), ("openai-torchscript/decoder", 7), ("transformers-torchscript/decoder", 7)],
)
def test_exports_for_old_opsets_get_the_operator(name: str, n_norms: int) -> None:
    export = foreign_graph(name, opset=14)
    model = export.model()
    assert "LayerNormalization" not in {node.op_type for node in model.graph}
    count, operators = rewritten(fuse_layer_norm, lambda: export.model(), export.inputs(), close=CLOSE)
    assert (count, operators["LayerNormalization"], operators.get("ReduceMean")) == (n_norms, n_norms, None)


def test_the_graph_is_raised_to_the_opset_that_has_the_operator() -> None:
    model = written_out()
    assert fuse_layer_norm(model.graph) == 1
    assert opset_of(model.graph) == 17


def test_a_graph_before_opset_13_stays_as_it_is() -> None:
    model = written_out()
    model.graph.opset_imports[""] = 12
    assert fuse_layer_norm(model.graph) == 0
    assert opset_of(model.graph) == 12


@pytest.mark.parametrize("changes", [{"axes": (1,)}, {"axes": (1, 2)}, {"power": 3.0}, {"seen": True}], ids=str)
def test_what_only_looks_like_it_stays(changes: dict[str, object]) -> None:
    assert fuse_layer_norm(written_out(**changes).graph) == 0  # type: ignore[arg-type]


def test_another_norms_deviation_does_not_fit() -> None:
    graph = SmallGraph({"x": (ir.DataType.FLOAT, ["n", 6]), "z": (ir.DataType.FLOAT, ["n", 6])})
    x, z = graph.inputs["x"], graph.inputs["z"]
    centred = graph.op("Sub", x, graph.op("ReduceMean", x, axes=[-1]))
    other = graph.op("Sub", z, graph.op("ReduceMean", z, axes=[-1]))
    variance = graph.op("ReduceMean", graph.op("Mul", other, other), axes=[-1])
    deviation = graph.op("Sqrt", graph.op("Add", variance, graph.constant("epsilon", np.asarray(1e-5, np.float32))))
    vector = graph.constant("weight", np.ones(6, np.float32))
    model = graph.model(y=graph.op("Add", graph.op("Mul", graph.op("Div", centred, deviation), vector), vector))
    model.graph.opset_imports[""] = OLD
    assert fuse_layer_norm(model.graph) == 0
