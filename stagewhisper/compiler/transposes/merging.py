"""Transposes that vanish, join their neighbour, or only move axes of length one.

x ─► Transpose ─► inverse Transpose ─► y       →   x
x ─► Transpose ─► Transpose ─► y               →   x ─► Transpose ─► y
x [n, 1, 8, 64] ─► Transpose ─► [n, 8, 1, 64]  →   x ─► Reshape [0, 8, 1, 64] ─► y
"""

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.graph_tools import (
    add_initializer,
    new_op,
    only_consumer,
    producer,
    remove_unused,
    replace_value,
)
from stagewhisper.compiler.inferred_shapes import Dim, InferredShapes
from stagewhisper.compiler.transposes.permutations import Permutation, composed, is_identity, permutation_of


def merge(graph: ir.Graph, node: ir.Node, shapes: InferredShapes) -> int:
    """1 if this Transpose was removed, alone or with the one before it."""
    perm, source = permutation_of(node, shapes), node.inputs[0]
    if perm is None or source is None:
        return 0
    if is_identity(perm):
        return _replace(graph, node, source)
    before = producer(source, "Transpose")
    first = None if before is None else permutation_of(before, shapes)
    if before is None or first is None or before.inputs[0] is None:
        return 0
    both, origin = composed(first, perm), before.inputs[0]
    if is_identity(both):
        return _replace(graph, node, origin)
    if only_consumer(source) is not node:
        return 0  # the one before stays for the others: nothing is won
    return _replace(graph, node, new_op(graph, node, "Transpose", origin, perm=list(both)))


def reshape_instead(graph: ir.Graph, node: ir.Node, shapes: InferredShapes) -> int:
    """1 if this Transpose became a Reshape, which moves nothing."""
    perm, source = permutation_of(node, shapes), node.inputs[0]
    dims = shapes.dims(source)
    if perm is None or dims is None or source is None:
        return 0
    moved = [axis for axis in perm if dims[axis] != 1]
    target = _target(perm, dims)
    if moved != sorted(moved) or target is None:
        return 0
    shape = add_initializer(graph, f"{node.outputs[0].name}_shape", np.asarray(target, np.int64))
    return _replace(graph, node, new_op(graph, node, "Reshape", source, shape))


def _target(perm: Permutation, dims: tuple[Dim, ...]) -> list[int] | None:
    """What to tell Reshape: 0 keeps a free length in its place, -1 stands for the only one that moves."""
    target: list[int | None] = []
    for place, axis in enumerate(perm):
        length = dims[axis]
        target.append(length if isinstance(length, int) else 0 if place == axis else None)
    if None not in target:
        return [length for length in target if length is not None]
    if target.count(None) > 1 or 0 in target:  # beside a length of 0, Reshape cannot tell what -1 should be
        return None
    return [-1 if length is None else length for length in target]


def _replace(graph: ir.Graph, node: ir.Node, value: ir.Value) -> int:
    """1, or 0 where the graph's output would need an Identity in the Transpose's place."""
    if node.outputs[0].is_graph_output() and (value.producer() is None or value.is_graph_output()):
        return 0
    replace_value(graph, node.outputs[0], value)
    remove_unused(graph, node)
    return 1
