"""Put GELU together again where an exporter wrote it as arithmetic.

    before   x ─┬► Div √2 ─► Erf ─► Add 1 ─► Mul ─► Mul ½ ─► y      the factors x and ½ in any order
                └────────────────────────────┘
    after    x ─► Gelu ─► y

Gelu is ONNX's own operator of opset 20, to which the graph is raised where all its operators mean the same there;
otherwise it is ONNX Runtime's. Declines for the approximation by tanh, for other constants, and where an intermediate
value is used elsewhere or is an output of the graph.

Source: Hendrycks and Gimpel 2016; ONNX operator Gelu.
"""

import math

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    MICROSOFT,
    constant_operand,
    is_op,
    new_op,
    nodes_of,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
    scalar_of,
)
from stagewhisper.compiler.opset import raise_opset

OPSET = 20
_CLOSE = 1e-3  # constants in float16 keep three digits


def fuse_gelu(graph: ir.Graph) -> int:
    """Erf, Add and Mul become one Gelu; returns how many.

    Without its intermediate values, each as large as the widest activation of the model, GELU is read and written once.
    """
    fused = 0
    for erf in nodes_of(graph, "Erf"):
        x = _divided_by_root_two(erf.inputs[0])
        last = None if x is None else _end_of_product(erf, x)
        if x is None or last is None:
            continue
        domain = "" if raise_opset(graph, OPSET) else MICROSOFT
        replace_value(graph, last.outputs[0], new_op(graph, last, "Gelu", x, domain=domain))
        remove_unused(graph, last)
        fused += 1
    return fused


def _divided_by_root_two(value: ir.Value | None) -> ir.Value | None:
    """x of x / √2, written as a division or a product."""
    node = producer(value, "Div", "Mul")
    if node is None or value is None or only_consumer(value) is None:
        return None
    if node.op_type == "Div":
        return node.inputs[0] if _is(node.inputs[1], math.sqrt(2)) else None
    return _other_factor(node, math.sqrt(0.5))


def _end_of_product(erf: ir.Node, x: ir.Value) -> ir.Node | None:
    """The node whose output is ½ · x · (1 + erf), reached by multiplying with both factors, once each."""
    node = only_consumer(erf.outputs[0])
    if node is None or not is_op(node, "Add") or _other_factor(node, 1.0) is not erf.outputs[0]:
        return None
    value, half, whole = node.outputs[0], False, False
    while not (half and whole):
        node = only_consumer(value)
        if node is None or not is_op(node, "Mul") or node.inputs[0] is node.inputs[1]:
            return None
        factor = node.inputs[1] if node.inputs[0] is value else node.inputs[0]
        adds_half, adds_whole = _is(factor, 0.5), factor is x
        if not (adds_half or adds_whole):
            adds_half = adds_whole = _is_half_of(factor, x)
        if not (adds_half or adds_whole) or (half and adds_half) or (whole and adds_whole):
            return None
        half, whole, value = half or adds_half, whole or adds_whole, node.outputs[0]
    return node


def _is_half_of(value: ir.Value | None, x: ir.Value) -> bool:
    node = producer(value, "Mul")
    return node is not None and _other_factor(node, 0.5) is x


def _other_factor(node: ir.Node, number: float) -> ir.Value | None:
    """The operand of `node` beside the constant `number`."""
    pair = constant_operand(node)
    return pair[1] if pair is not None and _is(pair[0], number) else None


def _is(value: ir.Value | None, number: float) -> bool:
    found = scalar_of(value)
    return found is not None and math.isclose(found, number, rel_tol=_CLOSE)
