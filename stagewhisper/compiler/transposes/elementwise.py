"""Transposes go down through operators that look at each element alone, where that makes them fewer.

    a ─► Transpose ─► Mul(0.125) ─► Transpose ─► y     →   a ─► Mul(0.125) ─► Transpose ─► y
    a ─► Transpose ─┬► Add ─► y                        →   a ─┬► Add ─► Transpose ─► y
    b ─► Transpose ─┘                                      b ─┘

An operand with fewer axes than the result is spread over the leading ones, so a constant gets its missing axes before
it is turned the other way. Declines where an operand is neither transposed alike, nor constant, nor a single number.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    attribute_of,
    is_op,
    new_op,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
    tensor_of,
)
from stagewhisper.compiler.inferred_shapes import InferredShapes
from stagewhisper.compiler.transposes.permutations import Permutation, inverse, permutation_of, transposed_by
from stagewhisper.compiler.transposes.weights import may_turn, turned

_UNARY = ("Abs", "Cast", "Ceil", "Erf", "Exp", "Floor", "Gelu", "Identity", "Log", "Neg", "Not", "Relu", "Sqrt", "Tanh")
_BINARY = ("Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mul", "Or", "Pow", "Sub", "Sum", "Where")
ELEMENTWISE = (*_UNARY, *_BINARY, "Concat")
"""Concat is no such operator, but may be turned over with all it joins just the same."""


@dataclass(frozen=True)
class _Cone:
    """A node and what feeds it, up to Transposes and constants."""

    nodes: tuple[ir.Node, ...]
    """Elementwise, in the order of the graph; the last is the root."""
    transposes: frozenset[ir.Node]


def push_down(
    graph: ir.Graph, root: ir.Node, shapes: InferredShapes, *, takes: Callable[[ir.Value, Permutation], bool]
) -> int:
    """How many Transposes above `root` were replaced by one below it, or none.

    `takes` tells whether all readers of a value would swallow a Transpose by this permutation.
    """
    if not is_op(root, *ELEMENTWISE) or len(root.outputs) != 1:
        return 0
    perm = next((perm for perm in _permutations_above(root, shapes)), None)
    cone = None if perm is None else _cone(root, perm, shapes)
    if perm is None or cone is None:
        return 0
    result = root.outputs[0]
    dying = sum(1 for node in cone.transposes if _reads_only(node, cone))
    reader = only_consumer(result)
    swallowed = is_op(reader, "Transpose") or takes(result, perm)
    if dying == 0 or (dying < 2 and not swallowed):
        return 0
    flat = _rebuild(graph, root, cone, perm)
    replace_value(graph, result, new_op(graph, root, "Transpose", flat, perm=list(perm)))
    remove_unused(graph, root)
    return dying


def _permutations_above(node: ir.Node, shapes: InferredShapes) -> Iterator[Permutation]:
    for value in node.inputs:
        perm = transposed_by(value, shapes)
        if perm is not None:
            yield perm
        source = producer(value, *ELEMENTWISE)
        if source is not None and value is not None and only_consumer(value) is not None:
            yield from _permutations_above(source, shapes)


def _cone(root: ir.Node, perm: Permutation, shapes: InferredShapes) -> _Cone | None:
    """All above `root` that can be computed in the layout before `perm`; None where something cannot."""
    nodes: list[ir.Node] = []
    transposes: set[ir.Node] = set()

    def visit(node: ir.Node) -> bool:
        for value in node.inputs:
            if value is None or _stays(value, shapes) or _turns(node, value, perm):
                continue
            source = value.producer()
            if is_op(source, "Transpose") and source is not None and permutation_of(source, shapes) == perm:
                transposes.add(source)
            elif source is None or not _inside(value, len(perm), shapes) or not visit(source):
                return False
        if node not in nodes:
            nodes.append(node)
        return True

    return _Cone(tuple(nodes), frozenset(transposes)) if visit(root) else None


def _inside(value: ir.Value, rank: int, shapes: InferredShapes) -> bool:
    """Whether `value` may change its layout: it has all axes, an elementwise node makes it, and one node reads it."""
    if producer(value, *ELEMENTWISE) is None or value.is_graph_output():
        return False
    return shapes.rank(value) == rank and len({use.node for use in value.uses()}) == 1


def _stays(value: ir.Value, shapes: InferredShapes) -> bool:
    """Whether `value` is a single number, which has no layout."""
    tensor = tensor_of(value)
    return (tensor is not None and tensor.size == 1 and len(tensor.shape) <= 1) or shapes.rank(value) == 0


def _turns(node: ir.Node, value: ir.Value, perm: Permutation) -> bool:
    """Whether `value` is a constant that can be turned offline."""
    tensor = tensor_of(value)
    if tensor is None or len(tensor.shape) > len(perm):
        return False
    return may_turn(value) and (node.op_type != "Concat" or len(tensor.shape) == len(perm))


def _reads_only(transpose: ir.Node, cone: _Cone) -> bool:
    """Whether the Transpose goes when the cone no longer reads it."""
    output = transpose.outputs[0]
    return not output.is_graph_output() and all(use.node in cone.nodes for use in output.uses())


def _rebuild(graph: ir.Graph, root: ir.Node, cone: _Cone, perm: Permutation) -> ir.Value:
    """The cone in the layout before `perm`."""
    flat: dict[ir.Value, ir.Value] = {}
    for transpose in cone.transposes:
        if transpose.inputs[0] is not None:
            flat[transpose.outputs[0]] = transpose.inputs[0]
    for node in cone.nodes:
        inputs = [_flat_input(graph, value, flat, perm) for value in node.inputs]
        kept = {name: attribute.value for name, attribute in node.attributes.items() if name != "axis"}
        axis = attribute_of(node, "axis")
        if axis is not None:
            kept["axis"] = perm[axis]
        flat[node.outputs[0]] = new_op(graph, root, node.op_type, *inputs, domain=node.domain, **kept)
    return flat[root.outputs[0]]


def _flat_input(
    graph: ir.Graph, value: ir.Value | None, flat: dict[ir.Value, ir.Value], perm: Permutation
) -> ir.Value | None:
    if value is None or value in flat:
        return None if value is None else flat[value]
    tensor = tensor_of(value)
    if tensor is None or (tensor.size == 1 and len(tensor.shape) <= 1):
        return value
    flat[value] = turned(graph, value, inverse(perm))
    return flat[value]
