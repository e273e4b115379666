"""A graph is read as one of a later opset only where its operators mean the same there."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.opset import opset_of, raise_opset
from tests.compiler.graphs import SmallGraph


def model_with(op_type: str, opset: int, *inputs: np.ndarray, **attributes: object) -> ir.Model:
    graph = SmallGraph({"x": (ir.DataType.FLOAT, ["n", 6])})
    given = [graph.constant(f"c{index}", array) for index, array in enumerate(inputs)]
    y = graph.op(op_type, graph.inputs["x"], *given, **attributes)  # type: ignore[arg-type]
    model = graph.model(y=y)
    model.graph.opset_imports[""] = opset
    return model


def test_an_operator_that_only_gained_types_is_raised() -> None:
    graph = model_with("IsNaN", 17).graph
    assert raise_opset(graph, 20)
    assert opset_of(graph) == 20


@pytest.mark.parametrize(("opset", "version"), [(20, 17), (20, 20), (21, 20)])
def test_a_later_opset_is_never_lowered(opset: int, version: int) -> None:
    graph = model_with("Relu", opset).graph
    assert raise_opset(graph, version)
    assert opset_of(graph) == opset


@pytest.mark.parametrize(("opset", "version"), [(12, 17), (17, 21)])
def test_beyond_what_is_known_nothing_is_raised(opset: int, version: int) -> None:
    graph = model_with("Relu", opset).graph
    assert not raise_opset(graph, version)
    assert opset_of(graph) == opset


def test_attributes_that_became_inputs_are_in_the_way() -> None:
    graph = model_with("ReduceMean", 17, axes=[1]).graph
    assert not raise_opset(graph, 18)
    assert raise_opset(graph, 17)
    assert opset_of(graph) == 17


@pytest.mark.parametrize(("sizes", "raised"), [([np.asarray([3, 3])], True), ([], False)], ids=["sizes", "halves"])
def test_a_split_needs_its_sizes(sizes: list[np.ndarray], raised: bool) -> None:
    assert raise_opset(model_with("Split", 17, *sizes, axis=1).graph, 20) is raised
