"""Orders of axes. A permutation is read as ONNX reads `perm`: axis i of the result is axis perm[i] of the input."""

import onnx_ir as ir

from stagewhisper.compiler.graph_tools import attribute_of, producer
from stagewhisper.compiler.inferred_shapes import InferredShapes

Permutation = tuple[int, ...]


def permutation_of(node: ir.Node, shapes: InferredShapes) -> Permutation | None:
    """The permutation of a Transpose; without the attribute it turns all axes round, if their number is known."""
    perm = attribute_of(node, "perm")
    if perm is not None:
        return tuple(perm)
    rank = shapes.rank(node.inputs[0])
    return None if rank is None else tuple(reversed(range(rank)))


def transposed_by(value: ir.Value | None, shapes: InferredShapes) -> Permutation | None:
    """The permutation of the Transpose that makes `value`, if one does."""
    node = producer(value, "Transpose")
    return None if node is None else permutation_of(node, shapes)


def composed(first: Permutation, second: Permutation) -> Permutation:
    """The permutation that does `first`, then `second`."""
    return tuple(first[axis] for axis in second)


def inverse(perm: Permutation) -> Permutation:
    """The permutation that undoes `perm`."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def is_identity(perm: Permutation) -> bool:
    """Whether every axis stays."""
    return perm == tuple(range(len(perm)))
