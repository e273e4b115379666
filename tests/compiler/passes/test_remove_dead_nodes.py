"""What has no effect goes, and what is seen from outside stays."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.passes.remove_dead_nodes import remove_dead_nodes
from tests.compiler.foreign_graphs import EXPORTS, foreign_graph
from tests.compiler.graphs import SmallGraph
from tests.compiler.passes.rewriting import CLOSE, rewritten

X: dict[str, tuple[ir.DataType, list[int | str]]] = {
    "x": (ir.DataType.FLOAT, ["n", 4]),
    "unread": (ir.DataType.FLOAT, ["n"]),
}
INPUTS = {"x": np.arange(8, dtype=np.float32).reshape(2, 4), "unread": np.zeros(3, np.float32)}


def test_unread_nodes_their_weights_and_nodes_that_pass_on_go() -> None:
    def build() -> ir.Model:
        graph = SmallGraph(X)
        x = graph.inputs["x"]
        graph.op("Mul", graph.op("Add", x, graph.constant("unread weight", np.ones(4, np.float32))), x)
        passed = graph.op("Cast", graph.op("Dropout", graph.op("Identity", x)), to=1)
        return graph.model(y=graph.op("Identity", graph.op("Neg", passed)))

    count, ops = rewritten(remove_dead_nodes, build, INPUTS)
    assert count == 2 + 1 + 4
    assert ops == {"Neg": 1}
    model = build()
    remove_dead_nodes(model.graph)
    assert [value.name for value in model.graph.inputs] == ["x", "unread"]
    assert not model.graph.initializers


def test_an_unread_optional_output_is_left_out() -> None:
    graph = SmallGraph(X)
    scale = graph.constant("scale", np.ones(4, np.float32))
    node = ir.node("LayerNormalization", [graph.inputs["x"], scale], num_outputs=3)
    graph._nodes.append(node)
    model = graph.model(y=graph.op("Neg", node.outputs[0]))
    remove_dead_nodes(model.graph)
    assert len(node.outputs) == 1


def test_it_declines_what_an_output_of_the_graph_needs() -> None:
    def build() -> ir.Model:
        graph = SmallGraph(X)
        x = graph.inputs["x"]
        shared = graph.op("Neg", x)
        constant = graph.constant("constant", np.ones(2, np.float32))
        return graph.model(
            passed=graph.op("Identity", x),
            constant_out=graph.op("Identity", constant),
            one=shared,
            other=graph.op("Identity", shared),
            narrowed=graph.op("Cast", graph.op("Cast", x, to=10), to=1),
        )

    count, ops = rewritten(remove_dead_nodes, build, INPUTS)
    assert count == 0
    assert ops == {"Neg": 1, "Identity": 3, "Cast": 2}


def test_a_value_that_only_a_branch_reads_stays() -> None:
    branches = []
    graph = SmallGraph(X)
    outer = graph.op("Neg", graph.inputs["x"])
    for op_type in ("Abs", "Exp"):
        node = ir.node(op_type, [outer])
        node.outputs[0].name, node.outputs[0].type = op_type, ir.TensorType(ir.DataType.FLOAT)
        branches.append(ir.Graph([], node.outputs, nodes=[node], name=op_type))
    condition = graph.constant("condition", np.array(True))
    attributes = [ir.AttrGraph("then_branch", branches[0]), ir.AttrGraph("else_branch", branches[1])]
    node = ir.Node("", "If", [condition], attributes)
    graph._nodes.append(node)
    model = graph.model(y=node.outputs[0])
    assert remove_dead_nodes(model.graph) == 0
    assert outer.producer() in list(model.graph)


@pytest.mark.parametrize("name", EXPORTS)
def test_foreign_graphs_keep_their_numbers(name: str) -> None:
    foreign = foreign_graph(name)
    count, ops = rewritten(remove_dead_nodes, foreign.model, foreign.inputs(), close=CLOSE)
    assert "Identity" not in ops
    assert count > 0 or "torchscript" not in name or "transformers" in name
