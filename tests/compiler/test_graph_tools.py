"""The verbs that passes are written with see what is there, and keep a graph legal and its outputs' names."""

import numpy as np
import onnx_ir as ir
import pytest

from stagewhisper.compiler import graph_tools as tools
from stagewhisper.compiler.verify import verify

FLOAT = ir.DataType.FLOAT


@pytest.fixture
def model() -> ir.Model:
    """y = relu(x · w + b) · 2, with w [4, 3] and a Constant node for the 2; `hidden` is an output, too."""
    x = ir.val("x", FLOAT, ["n", 4])
    tape = ir.tape.Tape()
    w = tape.initializer(ir.tensor(np.arange(12, dtype=np.float32).reshape(4, 3), name="w"))
    b = tape.initializer(ir.tensor(np.ones(3, np.float32), name="b"))
    hidden = tape.op("Relu", [tape.op("Add", [tape.op("MatMul", [x, w]), b])])
    two = tape.op("Constant", [], {"value_float": 2.0})
    y = tape.op("Mul", [two, hidden])
    for name, value in (("hidden", hidden), ("y", y)):
        value.name, value.shape, value.dtype = name, ir.Shape(["n", 3]), FLOAT
    graph = ir.Graph([x], [y, hidden], nodes=tape.nodes, initializers=[w, b], opset_imports={"": 20}, name="small")
    model = ir.Model(graph, ir_version=10)
    verify(model)
    return model


def node(model: ir.Model, op_type: str) -> ir.Node:
    return next(tools.nodes_of(model.graph, op_type))


def test_constants_are_found_whether_initializer_or_node(model: ir.Model) -> None:
    two, _ = node(model, "Mul").inputs
    _, w = node(model, "MatMul").inputs
    assert tools.scalar_of(two) == 2.0
    assert tools.constant_of(w) is not None
    assert tools.scalar_of(w) is None
    assert tools.constant_operand(node(model, "Mul")) == tuple(node(model, "Mul").inputs)
    assert tools.constant_operand(node(model, "Add")) == tuple(reversed(node(model, "Add").inputs))
    assert tools.constant_operand(node(model, "Relu")) is None
    assert tools.constant_of(model.graph.inputs[0]) is None
    assert tools.constant_of(None) is None


def test_an_initializer_that_may_be_overridden_is_no_constant(model: ir.Model) -> None:
    model.graph.inputs.append(model.graph.initializers["b"])
    assert not tools.is_constant(model.graph.initializers["b"])


def test_small_whole_numbers_are_read_and_large_or_broken_ones_are_not(model: ir.Model) -> None:
    axes = tools.add_initializer(model.graph, "axes", np.array([[1, -1]]))
    many = tools.add_initializer(model.graph, "many", np.zeros(65, np.int64))
    assert tools.ints_of(axes) == [1, -1]
    assert tools.ints_of(many) is None
    assert tools.ints_of(model.graph.initializers["b"]) is None


def test_reading_a_shape_does_not_read_the_weight(model: ir.Model) -> None:
    def fail() -> ir.TensorProtocol:
        raise AssertionError("read")

    lazy = ir.LazyTensor(fail, FLOAT, ir.Shape([4, 3]), name="w")
    model.graph.initializers["w"].const_value = lazy
    w = model.graph.initializers["w"]
    assert tools.rank_of(w) == 2
    assert tools.static_dim(w, -1) == 3
    assert tools.static_dim(w, 2) is None
    assert tools.scalar_of(w) is None
    assert tools.static_dim(model.graph.inputs[0], 0) is None


def test_consumers_and_producers(model: ir.Model) -> None:
    product = node(model, "MatMul").outputs[0]
    assert tools.only_consumer(product) is node(model, "Add")
    assert tools.only_consumer(node(model, "Relu").outputs[0]) is None, "the world outside uses it, too"
    assert tools.producer(product, "MatMul", "Gemm") is node(model, "MatMul")
    assert tools.producer(product, "Gemm") is None
    assert tools.producer(product, "MatMul", domain=tools.MICROSOFT) is None
    assert tools.producer(model.graph.inputs[0], "MatMul") is None
    assert tools.input_of(node(model, "Relu"), 1) is None


def test_attributes_come_as_plain_values(model: ir.Model) -> None:
    new = tools.new_op(
        model.graph, model.graph[0], "Transpose", model.graph.inputs[0], perm=[1, 0], name="turned", left_out=None
    )
    made = new.producer()
    assert made is not None
    assert tools.attribute_of(made, "perm") == [1, 0]
    assert tools.attribute_of(made, "left_out", 7) == 7
    assert new.name == "turned"


def test_a_new_operator_brings_its_domain_and_a_free_name(model: ir.Model) -> None:
    x = model.graph.inputs[0]
    add = node(model, "Add")
    first = tools.new_op(model.graph, add, "QuickGelu", x, domain=tools.MICROSOFT, name="gelu")
    second = tools.new_op(model.graph, add, "QuickGelu", x, domain=tools.MICROSOFT, name="gelu")
    assert (first.name, second.name) == ("gelu", "gelu_1")
    assert model.opset_imports[tools.MICROSOFT] == 1
    several = tools.new_node(model.graph, add, "Split", x, n_outputs=2, axis=1, num_outputs=2, name="half")
    assert [output.name for output in several.outputs] == ["half_0", "half_1"]
    verify(model)


def test_replacing_an_output_keeps_its_name_shape_and_type(model: ir.Model) -> None:
    old, mul = model.graph.outputs[0], node(model, "Mul")
    new = tools.new_op(model.graph, mul, "Add", mul.inputs[1], mul.inputs[1])
    tools.replace_value(model.graph, old, new)
    assert tools.remove_unused(model.graph, mul) == 2, "the Mul and its Constant"
    assert [output.name for output in model.graph.outputs] == ["y", "hidden"]
    assert model.graph.outputs[0] is new
    assert (new.dtype, new.shape) == (FLOAT, ir.Shape(["n", 3]))
    verify(model)


@pytest.mark.parametrize("other", ["x", "hidden", "b"])
def test_an_output_that_becomes_something_with_a_name_gets_an_identity(model: ir.Model, other: str) -> None:
    values = {
        "x": model.graph.inputs[0],
        "hidden": model.graph.outputs[1],
        "b": model.graph.initializers["b"],
    }
    tools.replace_value(model.graph, model.graph.outputs[0], values[other])
    tools.remove_unused(model.graph, node(model, "Mul"))
    assert [output.name for output in model.graph.outputs] == ["y", "hidden"]
    assert tools.is_op(model.graph.outputs[0].producer(), "Identity")
    assert values[other].name == other
    verify(model)


def test_removing_takes_what_fed_only_the_node_and_nothing_else(model: ir.Model) -> None:
    relu = node(model, "Relu")
    assert tools.remove_unused(model.graph, relu) == 0, "it is an output"
    model.graph.outputs.pop()
    mul = node(model, "Mul")
    tools.replace_value(
        model.graph, model.graph.outputs[0], tools.new_op(model.graph, mul, "Exp", model.graph.inputs[0])
    )
    assert tools.remove_unused(model.graph, mul) == 5
    assert [one.op_type for one in model.graph] == ["Exp"]
    assert not model.graph.initializers
    verify(model)


def test_nodes_may_be_removed_and_added_while_they_are_walked_through(model: ir.Model) -> None:
    for _ in range(3):
        tools.new_op(model.graph, model.graph[0], "Neg", model.graph.inputs[0])
    seen = 0
    for one in tools.nodes_of(model.graph, "Neg"):
        seen += 1
        tools.new_op(model.graph, one, "Neg", one.inputs[0])
        others = [other for other in tools.nodes_of(model.graph, "Neg") if other is not one]
        tools.remove_unused(model.graph, *others)
    assert seen == 1


def test_derived_weights_are_computed_when_they_are_read_and_held_to_their_shape(model: ir.Model) -> None:
    w = model.graph.initializers["w"]
    calls = []

    def turned(array: np.ndarray) -> np.ndarray:
        calls.append(array.shape)
        return array.T

    derived = tools.derive_initializer(model.graph, "w", [w], turned, shape=[3, 4])
    assert (derived.name, calls) == ("w_1", [])
    found = tools.constant_of(derived)
    np.testing.assert_array_equal(found, np.arange(12).reshape(4, 3).T)
    wrong = tools.derive_initializer(model.graph, "wrong", [w], turned, shape=[4, 3])
    with pytest.raises(ValueError, match=r"wrong was announced as \(4, 3\) and is \(3, 4\)"):
        tools.constant_of(wrong)
    with pytest.raises(ValueError, match="no constant"):
        tools.derive_initializer(model.graph, "late", [model.graph.inputs[0]], turned, shape=[3, 4])


def test_aliases_are_noted_in_the_graph(model: ir.Model) -> None:
    assert tools.aliases_of(model.graph) == {}
    tools.alias(model.graph, "past_0", "present_0")
    tools.alias(model.graph, "past_1", "present_1")
    assert tools.aliases_of(model.graph) == {"past_0": "present_0", "past_1": "present_1"}
