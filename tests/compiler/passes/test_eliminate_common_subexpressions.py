"""What is computed twice is computed once."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.graph_tools import derive_initializer
from stagewhisper.compiler.passes.eliminate_common_subexpressions import eliminate_common_subexpressions
from tests.compiler.foreign_graphs import EXPORTS, foreign_graph, op_counts
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

X: dict[str, tuple[ir.DataType, list[int | str]]] = {"x": (ir.DataType.FLOAT, ["n", 4])}
INPUTS = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)}


def test_equal_nodes_equal_constants_and_swapped_inputs_are_merged() -> None:
    def build() -> ir.Model:
        graph = SmallGraph(X)
        x = graph.inputs["x"]
        one, other = (graph.constant(name, np.full(4, 0.5, np.float32)) for name in ("one", "other"))
        third = graph.op("Constant", value=ir.tensor(np.full(4, 0.5, np.float32)))
        left = graph.op("Mul", graph.op("Add", x, one), x)
        right = graph.op("Mul", x, graph.op("Add", other, x))
        return graph.model(y=graph.op("Sub", graph.op("Add", left, right), third))

    count, ops = rewritten(eliminate_common_subexpressions, build, INPUTS)
    assert count == 4  # two constants, an Add, a Mul
    assert ops == {"Add": 2, "Mul": 1, "Sub": 1}


def test_an_output_keeps_its_name_and_its_type_when_its_twin_has_none() -> None:
    def build() -> ir.Model:
        graph = SmallGraph(X)
        first, second = (graph.op("Neg", graph.inputs["x"]) for _ in range(2))
        return graph.model(a=graph.op("Abs", first), b=second)

    count, ops = rewritten(eliminate_common_subexpressions, build, INPUTS)
    assert (count, ops) == (1, {"Neg": 1, "Abs": 1})


def test_it_declines_two_outputs_other_attributes_and_random_numbers() -> None:
    graph = SmallGraph(X)
    x = graph.inputs["x"]
    outputs = {f"twin{index}": graph.op("Neg", x) for index in range(2)}
    outputs |= {f"cast{to}": graph.op("Cast", graph.op("Cast", x, to=to), to=1) for to in (10, 11)}
    outputs |= {f"noise{index}": graph.op("RandomNormalLike", x) for index in range(2)}
    outputs |= {f"sub{index}": graph.op("Abs", graph.op("Sub", *pair)) for index, pair in enumerate([(x, x)])}
    model = graph.model(**outputs)
    before = op_counts(model.graph)
    assert eliminate_common_subexpressions(model.graph) == 0
    assert op_counts(model.graph) == before


def test_constants_of_other_types_shapes_or_bits_stay_apart() -> None:
    graph = SmallGraph(X)
    arrays = [np.zeros(4, np.float32), np.zeros((1, 4), np.float32), -np.zeros(4, np.float32), np.zeros(1, np.float32)]
    value = graph.inputs["x"]
    for index, array in enumerate(arrays):
        value = graph.op("Add", value, graph.constant(f"c{index}", array))
    model = graph.model(y=value)
    assert eliminate_common_subexpressions(model.graph) == 0


def test_large_weights_are_not_read() -> None:
    graph = SmallGraph({"x": (ir.DataType.FLOAT, ["n", 64])})
    weight = graph.constant("weight", np.zeros((64, 64), np.float32))
    model = graph.model(y=graph.op("MatMul", graph.inputs["x"], weight))

    def explode(array: np.ndarray) -> np.ndarray:
        raise AssertionError("read")

    for name in ("one", "two"):
        derive_initializer(model.graph, name, [weight], explode, shape=(64, 64))
    assert eliminate_common_subexpressions(model.graph) == 0


@pytest.mark.parametrize("name", EXPORTS)
def test_foreign_graphs_shrink_and_keep_their_numbers(name: str) -> None:
    foreign = foreign_graph(name)
    count, _ = rewritten(eliminate_common_subexpressions, foreign.model, foreign.inputs(), close=CLOSE)
    assert count > 0 or "dynamo" in name
