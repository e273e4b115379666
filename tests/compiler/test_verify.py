"""Every way in which a careless pass can break a graph is noticed, and the place is named."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler.graph_tools import MICROSOFT, new_op
from stagewhisper.compiler.verify import verify
from stagewhisper.errors import CompilerError

FLOAT = ir.DataType.FLOAT


def small_model() -> ir.Model:
    """y = relu(x · w) + w[0] with an If around nothing much."""
    x, choice = ir.val("x", FLOAT, ["n", 4]), ir.val("choice", ir.DataType.BOOL, [])
    tape = ir.tape.Tape()
    w = tape.initializer(ir.tensor(np.ones((4, 4), np.float32), name="w"))
    product = tape.op("MatMul", [x, w])
    relu = tape.op("Relu", [product])
    branches = {f"{name}_branch": branch(product, f"{name}_result") for name in ("then", "else")}
    y = tape.op("Add", [relu, tape.op("If", [choice], branches)])
    y.name, y.shape, y.dtype = "y", ir.Shape(["n", 4]), FLOAT
    graph = ir.Graph([x, choice], [y], nodes=tape.nodes, initializers=[w], opset_imports={"": 20}, name="small")
    return ir.Model(graph, ir_version=10)


def branch(outer: ir.Value, name: str) -> ir.Graph:
    """A graph inside a node, which reads a value from outside."""
    node = ir.node("Neg", [outer])
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = name, FLOAT, ir.Shape(["n", 4])
    return ir.Graph([], node.outputs, nodes=[node], name=name)


def by_type(model: ir.Model, op_type: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == op_type)


def lose_a_node(model: ir.Model) -> None:
    model.graph.remove(by_type(model, "MatMul"))


def lose_a_weight(model: ir.Model) -> None:
    model.graph.initializers.pop("w")


def read_what_comes_later(model: ir.Model) -> None:
    by_type(model, "MatMul").replace_input_with(0, model.graph.outputs[0])


def read_from_another_graph(model: ir.Model) -> None:
    by_type(model, "Relu").replace_input_with(0, by_type(small_model(), "Relu").outputs[0])


def read_from_nowhere(model: ir.Model) -> None:
    by_type(model, "Relu").replace_input_with(0, ir.val("stray", FLOAT, [4]))


def share_a_name(model: ir.Model) -> None:
    by_type(model, "Relu").outputs[0].name = "x"


def forget_a_name(model: ir.Model) -> None:
    by_type(model, "Relu").outputs[0].name = None


def forget_a_type(model: ir.Model) -> None:
    model.graph.outputs[0].type = None


def give_an_output_twice(model: ir.Model) -> None:
    model.graph.outputs.append(model.graph.outputs[0])


def give_nothing(model: ir.Model) -> None:
    model.graph.outputs.clear()


def say_another_shape(model: ir.Model) -> None:
    model.graph.initializers["w"].shape = ir.Shape([2, 8])


def say_another_type(model: ir.Model) -> None:
    model.graph.initializers["w"].dtype = ir.DataType.FLOAT16


def take_away_the_tensor(model: ir.Model) -> None:
    model.graph.initializers["w"].const_value = None


def use_a_strange_domain(model: ir.Model) -> None:
    new_op(model.graph, by_type(model, "Relu"), "Gelu", model.graph.inputs[0], domain=MICROSOFT)
    model.graph.opset_imports.pop(MICROSOFT)


def misspell_an_operator(model: ir.Model) -> None:
    by_type(model, "Relu").op_type = "Relou"


def invent_an_attribute(model: ir.Model) -> None:
    by_type(model, "Relu").attributes["slope"] = ir.AttrFloat32("slope", 0.1)


def leave_out_an_input(model: ir.Model) -> None:
    by_type(model, "MatMul").resize_inputs(1)


def break_a_branch(model: ir.Model) -> None:
    inside = by_type(model, "If").attributes["else_branch"].as_graph()
    inside[0].replace_input_with(0, model.graph.outputs[0])


def test_legal_graphs_pass_and_are_left_as_they_are() -> None:
    model = small_model()
    before = str(model)
    verify(model)
    assert str(model) == before


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lose_a_node,
            r"the Relu 'node_Relu_1' reads 'val_0', which was made by the MatMul .* not in the graph any more",
        ),
        (lose_a_weight, "reads 'w', which is neither an input nor an initializer"),
        (read_what_comes_later, "the MatMul .* reads 'y', which is made only later, by the Add"),
        (read_from_another_graph, "reads 'val_1', which belongs to another graph"),
        (read_from_nowhere, "reads 'stray', which is neither"),
        (share_a_name, "2 values are named 'x'"),
        (forget_a_name, "a value of the Relu 'node_Relu_1' has no name"),
        (forget_a_type, "the output 'y' has no type"),
        (give_an_output_twice, "an output stands in it twice"),
        (give_nothing, "it has no outputs"),
        (say_another_shape, r"'w' is said to be \[2, 8\] and holds \[4, 4\]"),
        (say_another_type, "'w' is said to be FLOAT16 and holds FLOAT"),
        (take_away_the_tensor, "the initializer 'w' has no tensor"),
        (use_a_strange_domain, "Gelu .* is of the domain 'com.microsoft', which the graph does not import"),
        (misspell_an_operator, "Relou"),
        (invent_an_attribute, "slope"),
        (leave_out_an_input, "MatMul"),
        (break_a_branch, "the Neg .* reads 'y', which"),
    ],
)
def test_damage_is_noticed_and_named(damage, reason) -> None:  # type: ignore[no-untyped-def]
    model = small_model()
    damage(model)
    with pytest.raises(CompilerError, match=rf"(?s)^The graph 'small' is not legal: .*{reason}"):
        verify(model)


def test_many_problems_are_counted_rather_than_listed() -> None:
    model = small_model()
    for node in model.graph:
        node.outputs[0].name = "same" if node.op_type != "Add" else ""
    by_type(model, "Relu").replace_input_with(0, ir.val("stray", FLOAT, [4]))
    model.graph.initializers["w"].shape = ir.Shape([2, 8])
    with pytest.raises(CompilerError, match=r"\(and 1 more\)\.$"):
        verify(model)


def test_no_weight_is_read() -> None:
    model = small_model()

    def fail() -> ir.TensorProtocol:
        raise AssertionError("read")

    shape = ir.Shape([4, 400])  # large: the checker looks at the contents of small ones
    w = model.graph.initializers["w"]
    w.const_value = ir.LazyTensor(fail, FLOAT, shape, name="w")
    w.shape = shape
    verify(model)
