"""Put layer normalisation together again where an exporter wrote it as arithmetic.

    before   x ─┬► ReduceMean ─┐                     d = x − mean
                └──────────────┴► Sub ─► d ─┬► Pow 2 ─► ReduceMean ─► Add ε ─► Sqrt ─┐
                                            └────────────────────────────────────────┴► Div ─► Mul w ─► Add b ─► y
    after    x ─► LayerNormalization(w, b, ε) ─► y

Opsets before 17 have no such operator, so exporters for them write it out. The graph is raised to opset 17. Declines
where it cannot be (before opset 13), when the mean is not over the last axis, for a weight or bias that is no vector,
and where the mean or the scaled value is used elsewhere.

Source: Ba, Kiros and Hinton 2016; ONNX operator LayerNormalization.
"""

from dataclasses import dataclass

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    attribute_of,
    constant_operand,
    input_of,
    ints_of,
    new_op,
    nodes_of,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
    scalar_of,
    tensor_of,
)
from stagewhisper.compiler.opset import raise_opset

OPSET = 17


@dataclass(frozen=True)
class _LayerNorm:
    """What was found."""

    x: ir.Value
    weight: ir.Value
    bias: ir.Value
    epsilon: float
    last: ir.Node


def fuse_layer_norm(graph: ir.Graph) -> int:
    """ReduceMean, Sub, Pow, Sqrt, Div, Mul and Add become one LayerNormalization; returns how many."""
    found = [norm for divided in nodes_of(graph, "Div") if (norm := _layer_norm(divided)) is not None]
    if not found or not raise_opset(graph, OPSET):
        return 0
    for norm in found:
        inputs = (norm.x, norm.weight, norm.bias)
        output = new_op(graph, norm.last, "LayerNormalization", *inputs, axis=-1, epsilon=norm.epsilon)
        replace_value(graph, norm.last.outputs[0], output)
        remove_unused(graph, norm.last)
    return len(found)


def _layer_norm(divided: ir.Node) -> _LayerNorm | None:
    centred, deviation = divided.inputs
    sub = producer(centred, "Sub")
    epsilon = _epsilon(deviation, centred)
    if sub is None or centred is None or epsilon is None or len(centred.uses()) not in (2, 3):
        return None
    x, mean = sub.inputs
    if x is None or _averaged(mean) is not x:
        return None
    scaled = _next_with_vector(divided, "Mul")
    shifted = None if scaled is None else _next_with_vector(scaled[0], "Add")
    if scaled is None or shifted is None:
        return None
    return _LayerNorm(x, scaled[1], shifted[1], epsilon, shifted[0])


def _epsilon(deviation: ir.Value | None, centred: ir.Value | None) -> float | None:
    """ε of √(mean of centred² + ε)."""
    root = producer(deviation, "Sqrt")
    total = None if root is None else producer(root.inputs[0], "Add")
    pair = None if total is None else constant_operand(total)
    square = None if pair is None else producer(_averaged(pair[1]), "Pow", "Mul")
    if pair is None or square is None or square.inputs[0] is not centred:
        return None
    is_square = square.inputs[1] is centred if square.op_type == "Mul" else scalar_of(square.inputs[1]) == 2
    return scalar_of(pair[0]) if is_square else None


def _averaged(value: ir.Value | None) -> ir.Value | None:
    """x, if `value` is its mean over the last axis, that axis kept, and is used once."""
    node = producer(value, "ReduceMean")
    if node is None or value is None or only_consumer(value) is None or attribute_of(node, "keepdims", 1) != 1:
        return None
    axes = attribute_of(node, "axes") or ints_of(input_of(node, 1))
    return node.inputs[0] if axes == [-1] else None


def _next_with_vector(node: ir.Node, op_type: str) -> tuple[ir.Node, ir.Value] | None:
    """The only consumer, of this type, and its constant vector."""
    consumer = only_consumer(node.outputs[0])
    if consumer is None or consumer.op_type != op_type or consumer.domain not in ("", "ai.onnx"):
        return None
    pair = constant_operand(consumer)
    tensor = None if pair is None else tensor_of(pair[0])
    is_vector = tensor is not None and len(tensor.shape) == 1 and tensor.size > 1
    return (consumer, pair[0]) if pair is not None and is_vector else None
